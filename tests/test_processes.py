"""Searches in worker processes of joblib: their threads, programs and memory.

Each script runs in a process of its own, as from a fresh terminal. What a build
function may be there is in test_users, row 7, too.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorflow.python.eager import context as tf_context
from workers import TELLS_THREADS

from skann._runtime import disk_cache, private, start
from skann._runtime.chatter import passed_on

TESTS = Path(__file__).parent

linux = pytest.mark.skipif(not TELLS_THREADS, reason="needs /proc")


def run(script, *arguments, **environment):
    """Run a script as a user would, and return what it prints as JSON."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    # Scripts import Keras by themselves, before skann can keep tensorflow quiet.
    env["TF_CPP_MIN_LOG_LEVEL"] = "3"
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**env, "PYTHONPATH": str(TESTS), **environment},
        capture_output=True,
        text=True,
        timeout=300,  # Instead of a hang.
    )
    assert done.returncode == 0, done.stderr
    assert not b"".join(passed_on([done.stderr.encode()]))
    return json.loads(done.stdout)


SEARCH = """
import json, os, sys
from pathlib import Path

from skann import MLPKerasRegressor

import keras
import numpy as np
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV
from workers import threads


class Halve(keras.layers.Layer):
    def call(self, x):
        return x / 2


class Enough(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 20


def build_model(width=4, input_shape=(5,)):
    layers = [keras.Input(input_shape), Halve(), keras.layers.Dense(width, "tanh")]
    return keras.Sequential([*layers, keras.layers.Dense(1)])


def scores_of(model, n_jobs):
    grid = {"learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, error_score="raise")
    results = search.fit(X, y).cv_results_
    return [results[f"split{i}_test_score"].tolist() for i in (0, 1)]


X = np.random.default_rng(0).normal(size=(250, 5))
y = X[:, :3].sum(axis=1)
# More than 5000 steps are planned for each fit: they are compiled.
long = {"batch_size": 4, "epochs": 200, "random_state": 0, "callbacks": [Enough()]}
# tensorflow has trained and predicted before the workers are started.
own = MLPKerasRegressor(build_model, **long).fit(X, y)
own.predict(X)
own.set_params(engine="keras").fit(X, y, epochs=1).predict(X)
found = []
for n_jobs, compiled in zip((1, 2), sys.argv[1:], strict=True):
    # XLA writes down what it compiles, and makes no directory for nothing. This process
    # has read its flags; the workers read others.
    os.environ["XLA_FLAGS"] = f"--xla_dump_to={compiled} --xla_dump_hlo_as_text"
    scores = [
        scores_of(MLPKerasRegressor(n_hidden=1, **long), n_jobs),
        scores_of(MLPKerasRegressor(lambda: build_model(3), **long), n_jobs),
    ]
    told = Parallel(n_jobs=n_jobs)(delayed(threads)() for _ in range(n_jobs))
    entries = Path(os.environ["SKANN_CACHE_DIR"]).glob("*/*.pb")
    entries = sorted(map(str, entries))
    found.append({"scores": scores, "threads": told, "entries": entries})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """Return the same search alone and in two processes, and what each compiled."""
    place = tmp_path_factory.mktemp("search")
    compiled = [place / "alone", place / "in-processes"]
    found = run(
        SEARCH,
        *compiled,
        SKANN_CACHE_DIR=str(place / "cache"),
        XLA_FLAGS=f"--xla_dump_to={compiled[0]} --xla_dump_hlo_as_text",
    )
    return [
        {**told, "compiled": path} for told, path in zip(found, compiled, strict=True)
    ]


def test_processes_give_the_same_scores_after_tensorflow_has_run(searches):
    alone, in_processes = searches
    assert in_processes["scores"] == alone["scores"]


def test_nothing_is_compiled_twice_where_the_disk_cache_has_it(searches):
    alone, in_processes = searches
    assert any(alone["compiled"].iterdir())
    assert not in_processes["compiled"].exists()
    assert len(alone["entries"]) >= 3
    assert in_processes["entries"] == alone["entries"]


@linux
def test_a_worker_takes_its_share_of_the_cores(searches):
    share = max(1, os.cpu_count() // 2)
    for blas, tensorflow in searches[1]["threads"]:
        assert blas <= share
        assert tensorflow == share


def test_the_loop_of_a_small_network_is_one_function(searches):
    texts = searches[0]["compiled"].glob("*cpu_after_optimizations.txt")
    assert any('xla_cpu_small_call="true"' in path.read_text() for path in texts)


SMALL_LOOPS = (
    "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=80000"
)


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (None, SMALL_LOOPS),
        ("--xla_dump_to=/d", f"--xla_dump_to=/d {SMALL_LOOPS}"),
        # The user's own.
        ("--xla_backend_extra_options=a=1", "--xla_backend_extra_options=a=1"),
        (__file__, __file__),  # A file of flags.
    ],
)
def test_flags_of_the_users_stay(before, told, monkeypatch):
    seen = []
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    if before is not None:
        monkeypatch.setenv("XLA_FLAGS", before)
    monkeypatch.setattr(
        private, "have_xla_flags_read", lambda: seen.append(os.environ["XLA_FLAGS"])
    )
    monkeypatch.setattr(disk_cache, "turn_on", lambda: None)
    start.set_up_xla()
    assert seen == [told]
    assert os.environ.get("XLA_FLAGS") == before


@pytest.mark.parametrize("place", ["missing", "", "file/below", "circle"])
@pytest.mark.parametrize("name", ["XLA_FLAGS", "TF_XLA_FLAGS", "TF_JITRT_FLAGS"])
def test_a_file_of_flags_that_cannot_be_read_is_told(
    name, place, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    monkeypatch.setattr(private, "have_xla_flags_read", pytest.fail)
    path = str(tmp_path / place)
    monkeypatch.setenv(name, path)
    with pytest.raises(OSError, match=f"^{name}='{path}' in the environment names a"):
        start.set_up_xla()


@pytest.mark.parametrize("flags", [" ", "\t", "", "-", " --a", "--a /b"])
def test_what_begins_with_a_dash_or_is_blank_is_no_file(flags):
    assert not start.names_file(flags)


@pytest.mark.parametrize(
    ("flags", "ending"),
    [
        ("/no/such/file", "cannot be read: No such file or directory."),
        (" ", "done"),  # tensorflow alone would open a file of this name.
    ],
)
def test_no_flags_end_the_process(flags, ending):
    code = """
try:
    from skann import MLPKerasRegressor
    MLPKerasRegressor(epochs=1, dropout=0.1).fit([[0.0], [1.0]], [0.0, 1.0])
except OSError as error:
    print(error)
else:
    import tensorflow as tf
    tf.function(lambda x: 2 * x, jit_compile=True)(tf.ones(3))
    print("done")
"""
    names = ("XLA_FLAGS", "TF_XLA_FLAGS")
    settings = {name: flags for name in names} | {"SKANN_CACHE_DIR": "off"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (line,) = run.stdout.splitlines()
    assert line.endswith(ending)


LIMITED = """
import json

import skann
from joblib import Parallel, delayed, parallel_config
from workers import threads

with parallel_config("loky", inner_max_num_threads=1):
    parallel = Parallel(n_jobs=2)
    print(json.dumps([threads(), *parallel(delayed(threads)() for _ in range(2))]))
"""


# As under a batch system, which sets the variable to the cores of a job.
@linux
@pytest.mark.slow
def test_a_worker_may_have_fewer_threads_than_the_process_that_starts_it():
    own, *workers = run(LIMITED, OMP_NUM_THREADS="2")
    assert own[1] == 2
    assert workers == [[1, 1], [1, 1]]


class Starting:
    """tensorflow's context as it is before it has devices."""

    _initialized = False

    def ensure_initialized(self):
        names = ("TF_NUM_INTRAOP_THREADS", "TF_FORCE_GPU_ALLOW_GROWTH")
        self.told = [os.environ.get(name) for name in names]
        self._initialized = True


@pytest.mark.parametrize(
    ("threads", "share", "growth", "told"),
    [
        (None, None, None, [None, "true"]),
        (None, "2", None, ["2", "true"]),
        (None, "", None, [None, "true"]),
        ("4", "2", None, ["4", "true"]),
        ("4", None, "false", ["4", "false"]),
    ],
)
def test_tensorflow_starts_by_the_users_settings_or_else_in_its_share(
    threads, share, growth, told, monkeypatch
):
    given = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": share}
    for name, value in {**given, "TF_FORCE_GPU_ALLOW_GROWTH": growth}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    before = dict(os.environ)
    context = Starting()
    monkeypatch.setattr(tf_context, "context", lambda: context)
    start.start()
    assert context.told == told
    assert os.environ == before


WIDE = """
import json

import numpy as np
from sklearn.model_selection import GridSearchCV

from skann import MLPKerasRegressor

X = np.random.default_rng(0).normal(size=(1000, 300))
y = X[:, :3].sum(axis=1)
model = MLPKerasRegressor(
    hidden_layer_sizes=(512, 512), epochs=200, patience=2, early_stopping=True,
    random_state=0,
)
scores = []
for n_jobs in (1, 2):
    search = GridSearchCV(model, {"learning_rate": [1e-4, 1e-3]}, cv=2, n_jobs=n_jobs)
    search.fit(X, y)
    scores.append([search.cv_results_[f"split{i}_test_score"].tolist() for i in (0, 1)])
print(json.dumps(scores))
"""


# With more threads, the sums of wide layers are in another order than in the workers.
@pytest.mark.slow
def test_wide_networks_repeat_in_processes_of_as_many_threads():
    alone, in_processes = run(WIDE, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert in_processes == alone


MEMORY = """
import json
import tempfile

import numpy as np
from joblib import Parallel, delayed, parallel_config
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing
from workers import note_process, resident, wait_until

X, y = load_california_housing(return_X_y=True)
X, y = StandardScaler().fit_transform(X)[:6000], y[:6000]
model = MLPKerasRegressor(n_neurons=50, patience=3, epochs=30, early_stopping=True)


def memory_after(seeds):
    grid = {"random_state": seeds}
    GridSearchCV(model, grid, cv=2, n_jobs=2, refit=False).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        return Parallel(n_jobs=2)(delayed(told)(folder) for _ in range(2))


def told(folder):
    import os

    wait_until(lambda: note_process(folder) == 2)  # So that each worker is asked.
    return os.getpid(), resident()


before, after = memory_after([0, 1, 2, 3]), memory_after(list(range(300)))
print(json.dumps([before, after]))
"""


@linux
@pytest.mark.slow
def test_the_memory_of_a_worker_is_bounded_over_300_fits():
    before, after = map(dict, run(MEMORY))
    assert len(before) == 2
    assert after.keys() == before.keys()
    for worker, megabytes in before.items():
        assert after[worker] - megabytes < 50
