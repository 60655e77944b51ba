"""Children that are forked after tensorflow was used: an error instead of a hang."""

import json
import multiprocessing
import subprocess
import sys
import threading

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from skann._runtime import process, threads

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(),
    reason="this system does not fork",
)

SCRIPT = """
import json, multiprocessing, pickle

import numpy as np

from skann import MLPKerasRegressor

X = np.random.default_rng(0).normal(size=(100, 4))
y = X[:, 0]
context = multiprocessing.get_context("fork")


def regressor(**how):
    return MLPKerasRegressor(n_hidden=1, epochs=2, random_state=0, **how)


def outcome(name):
    try:
        work[name]()
        return "done"
    except RuntimeError as error:
        return str(error)


def in_children():
    with context.Pool(1) as pool:
        return {name: pool.apply_async(outcome, (name,)).get(60) for name in work}


plain = regressor().fit(X, y)
work = {
    "fit of a plain network": lambda: regressor().fit(X, y),
    "prediction by it": lambda: plain.predict(X),
    "first use of tensorflow": lambda: regressor(dropout=0.1).fit(X, y),
}
before = in_children()

dropped = regressor(dropout=0.1).fit(X, y)
saved = pickle.dumps(dropped)
going_on = regressor(dropout=0.1, warm_start=True).fit(X, y)
odd = regressor(activation="mish").fit(X, y)
odd.predict(X)
work |= {
    "prediction by dropout's network": lambda: dropped.predict(X),
    "fit that goes on": lambda: going_on.fit(X, y),
    "fit by Keras": lambda: regressor(engine="keras").fit(X, y),
    "partial_fit": lambda: dropped.partial_fit(X, y),
    "prediction in tensorflow": lambda: odd.predict(X),
    "model_": lambda: regressor().fit(X, y).model_,
    "unpickled": lambda: pickle.loads(saved).predict(X),
    "model_ of what was unpickled": lambda: pickle.loads(saved).model_,
    "compiled": lambda: regressor(batch_size=1).set_params(epochs=60).fit(X, y),
}
print(json.dumps([before, in_children()]))
"""

WORKS = {
    "fit of a plain network",
    "prediction by it",
    "prediction by dropout's network",
    "unpickled",
}


@pytest.fixture(scope="module")
def outcomes():
    """What became of each piece of work in a child, before and after."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=300,  # Instead of a hang.
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_children_work_where_tensorflow_was_not_used(outcomes):
    assert set(outcomes[0].values()) == {"done"}


def test_children_say_why_they_do_not_work_where_it_was(outcomes):
    assert len(outcomes[1]) == 12
    for name, outcome in outcomes[1].items():
        if name in WORKS:
            assert outcome == "done", name
        else:
            assert outcome.startswith("tensorflow was used before this process"), name
            assert "spawn" in outcome
            assert "loky" in outcome


def blas_threads():
    return [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]


def in_child(work):
    context = multiprocessing.get_context("fork")
    child = context.Process(target=work)
    child.start()
    child.join(20)
    ended = child.exitcode
    child.kill()
    return ended


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("lock", [process.LOCK, threads.LOCK])
def test_locks_are_free_in_a_child(lock):
    def hold():
        with lock:
            held.set()
            done.wait(60)

    def use():
        assert lock.acquire(timeout=5)
        assert blas_threads() == allowed

    held, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold)
    with threadpool_limits(3, user_api="blas"):
        allowed = blas_threads()
        with threads.one_blas_thread():
            thread.start()
            held.wait()
            ended = in_child(use)
            done.set()
            thread.join()
    assert ended == 0
