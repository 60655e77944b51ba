"""Threads that fit, predict, build and trace at once, and wait for one another."""

import pickle
import random
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._keras.lending import own_values, standing_in
from skann._training.graph.cache import PROGRAMS

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(axis=1)
SMALL = {"n_hidden": 1, "n_neurons": 4, "epochs": 2, "random_state": 0}


class Thread(threading.Thread):
    """A thread that is waited for, and whose error is raised."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.result, self.error = work, None, None
        self.start()

    def run(self):
        try:
            self.result = self.work()
        except BaseException as error:
            self.error = error

    def wait(self):
        self.join(60)
        assert not self.is_alive(), "it hangs"
        if self.error is not None:
            raise self.error
        return self.result


def small(**how):
    return MLPKerasRegressor(**SMALL, **how).fit(X, Y)


def build(input_shape):
    return keras.Sequential(
        [keras.Input(input_shape), keras.layers.Dense(2), keras.layers.Dense(1)]
    )


def needs_no_trace():
    """Whatever makes, trains and asks networks without tracing."""
    estimator = small()
    estimator.model_.get_weights()
    MLPKerasRegressor(build, **{"epochs": 1}).fit(X, Y).predict(X)
    pickle.loads(pickle.dumps(estimator)).predict(X)
    return estimator.predict(X)


def needs_no_fence():
    """Whatever has no build function of the user's."""
    small().model_.get_weights()
    pickle.loads(pickle.dumps(small(dropout=0.1))).predict(X)
    return small(activation="mish").predict(X)


def test_a_build_function_may_wait_for_another_thread():
    def waits(input_shape):
        Thread(needs_no_fence).wait()
        return build(input_shape)

    Thread(lambda: MLPKerasRegressor(waits, epochs=1).fit(X, Y)).wait()


def test_a_traced_loss_may_wait_for_another_thread():
    def loss(y, outputs):
        if not done:
            done.append(Thread(needs_no_trace).wait())
        return keras.ops.mean(keras.ops.abs(y - outputs), axis=-1)

    done = []
    fit = Thread(lambda: small(loss=loss, dropout=0.1))
    assert fit.wait().engine_ == "graph"
    assert len(done) == 1


def test_a_build_function_and_a_loss_may_ask_for_each_others_models():
    first, second = small(), small()
    both = threading.Barrier(2)

    def meet():
        if not both.broken and both.n_waiting < 2 and len(met) < 2:
            met.append(threading.get_ident())
            both.wait(60)

    def asks(input_shape):
        meet()
        first.model_.get_weights()
        small(dropout=0.1).predict(X)
        return build(input_shape)

    def loss(y, outputs):
        if threading.get_ident() not in met:
            meet()
            seen.append([second.model_, small().model_, second.predict(X)])
        return keras.ops.mean(keras.ops.square(y - outputs), axis=-1)

    met, seen = [], []
    fits = [
        Thread(lambda: MLPKerasRegressor(asks, epochs=1).fit(X, Y)),
        Thread(lambda: small(loss=loss, dropout=0.1)),
    ]
    for fit in fits:
        fit.wait()
    assert len(met) == 2
    assert len(seen) == 1


not_yet, tracing, go_on = (threading.Event() for _ in range(3))


def waiting_loss(y, outputs):
    if not_yet.is_set():
        not_yet.clear()
        tracing.set()
        assert go_on.wait(60)
    return keras.ops.mean(keras.ops.square(y - outputs), axis=-1)


@pytest.mark.parametrize("use", ["predict", "pickle", "model_"])
def test_a_model_is_itself_to_other_threads_while_it_is_traced(use):
    estimator = small(loss=waiting_loss, batch_size=20)
    expected = estimator.predict(X)
    PROGRAMS.clear()
    tracing.clear()
    go_on.clear()
    not_yet.set()
    goes_on = Thread(lambda: estimator.partial_fit(X, Y))
    assert tracing.wait(60)
    if use == "predict":
        found = estimator.predict(X)
    elif use == "pickle":
        found = pickle.loads(pickle.dumps(estimator)).predict(X)
    else:
        found = estimator.model_(X.astype("float32")).numpy().ravel()
    go_on.set()
    goes_on.wait()
    assert np.allclose(found, expected, rtol=1e-5)


def test_variables_are_lent_to_one_thread_and_come_back():
    variables = [keras.Variable(np.arange(3.0)), keras.Variable(1.0)]
    own, kinds = own_values(variables), [type(v) for v in variables]
    with standing_in(variables, ["a", "b"]):
        assert [v._value for v in variables] == ["a", "b"]
        with standing_in(variables[:1], ["c"]):
            assert [v._value for v in variables] == ["c", "b"]
            assert own_values(variables) == own
            seen = Thread(lambda: [v.numpy().tolist() for v in variables]).wait()
        assert [v._value for v in variables] == ["a", "b"]
        assert isinstance(variables[0], keras.Variable)
    assert seen == [[0, 1, 2], 1]
    assert [type(v) for v in variables] == kinds
    assert all(v._value is value for v, value in zip(variables, own, strict=True))


def test_networks_of_skanns_own_leave_global_generators_alone(monkeypatch):
    def fail(*arguments):
        raise AssertionError("a global generator is set")

    for module in (random, np.random):
        monkeypatch.setattr(module, "seed", fail)
    monkeypatch.setattr(random, "setstate", fail)
    monkeypatch.setattr(np.random, "set_state", fail)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    for how in ({}, {"dropout": 0.1}, {"activation": "mish"}):
        estimator = small(**how)
        estimator.model_.get_weights()
        pickle.loads(pickle.dumps(estimator)).predict(X)
    MLPKerasClassifier(**SMALL).fit(X, Y > 0)
    after = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert before == after


def test_build_functions_draw_in_threads_as_they_do_alone():
    def draws(input_shape):
        layers = [keras.layers.Dense(random.randint(2, 30)) for _ in range(3)]
        layers[0].kernel_initializer = lambda shape, dtype: np.random.rand(*shape)  # noqa: NPY002
        return keras.Sequential(
            [keras.Input(input_shape), *layers, keras.layers.Dense(1)]
        )

    def fit(seed):
        estimator = MLPKerasRegressor(draws, epochs=1, random_state=seed)
        return estimator.fit(X, Y).predict(X).tobytes()

    alone = [fit(seed) for seed in range(4)]
    threads = [Thread(lambda seed=seed: fit(seed)) for seed in range(4)]
    assert [thread.wait() for thread in threads] == alone
    assert len(set(alone)) == 4


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_stress(seconds):
    """Eight threads that do all there is to do, for a while."""
    script = Path(__file__).with_name("stress.py")
    done = subprocess.run(
        [sys.executable, script, str(seconds)],
        capture_output=True,
        text=True,
        timeout=240,  # Instead of a hang.
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
