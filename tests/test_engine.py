"""What the engine promises of sharing, repeating, threads and ways to run."""

import re
import subprocess
import sys
import threading
from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse
from sklearn.datasets import load_diabetes, load_digits
from sklearn.preprocessing import scale
from threadpoolctl import ThreadpoolController, threadpool_limits

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._data.feed import Feed, dense_rows
from skann._training.graph.cache import PROGRAMS, description_of
from skann.exceptions import EngineError

# Little work on a plain stack needs no program; a metric makes it no plain one.
TRACED = {
    "n_hidden": 1,
    "n_neurons": 12,
    "epochs": 3,
    "random_state": 0,
    "metrics": "mse",
}
SMALL = {"n_hidden": 1, "n_neurons": 12, "epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y


@pytest.fixture
def xla(monkeypatch):
    monkeypatch.setattr("skann._training.work.STEPS_WORTH_COMPILING", 0)


def programs_made_by(fit):
    before = len(PROGRAMS)
    fit()
    return len(PROGRAMS) - before


@pytest.mark.parametrize(
    "network",
    [{}, {"metrics": ["mae"]}, {"normalization": "batch", "dropout": 0.1}],
    ids=str,
)
def test_fits_of_one_architecture_share_a_program(data, network):
    X, y = data
    first = MLPKerasRegressor(**{**TRACED, **network})
    PROGRAMS.clear()
    assert programs_made_by(lambda: first.fit(X, y)) == 1
    for change in (
        {"learning_rate": 0.5},
        {"random_state": 7},
        {"epochs": 2},
        {"kernel_initializer": "zeros"},
    ):
        other = MLPKerasRegressor(**{**TRACED, **network, **change})
        assert programs_made_by(lambda other=other: other.fit(X[50:], y[50:])) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 0.1},
        {"l2": 0.01},
        {"n_neurons": 13},
        {"activation": "tanh"},
        {"batch_size": 16},
        {"loss": "mae"},
        {"loss": "huber", "loss_kwargs": {"delta": 0.123}},
        {"optimizer_kwargs": {"beta_1": 0.7}},
        {"metrics": ["mae"]},
        {"dtype": "float32"},
    ],
    ids=str,
)
def test_what_changes_the_arithmetic_makes_a_program_of_its_own(data, change):
    X, y = data
    PROGRAMS.clear()
    MLPKerasRegressor(**TRACED).fit(X, y)
    other = MLPKerasRegressor(**{**TRACED, "epochs": 1, **change})
    assert programs_made_by(lambda: other.fit(X, y)) == 1


def test_widths_share_a_program(data, xla):
    X, y = data

    def fit(n_neurons):
        return MLPKerasRegressor(**{**SMALL, "n_neurons": n_neurons}).fit(X, y)

    PROGRAMS.clear()
    assert programs_made_by(lambda: fit(20)) == 1
    assert programs_made_by(lambda: fit(31)) == 0
    assert programs_made_by(lambda: fit(33)) == 1


WIDE_ENOUGH = {
    "adam": {},
    "batch norm": {"normalization": "batch"},
    "clipping": {"optimizer": "adamw", "optimizer_kwargs": {"global_clipnorm": 0.1}},
    "averages": {"optimizer_kwargs": {"use_ema": True}},
    "momentum": {"optimizer": "sgd", "optimizer_kwargs": {"momentum": 0.9}},
    "penalties": {"l1": 0.001, "l2": 0.01, "optimizer": "rmsprop"},
    "nadam": {"optimizer": "nadam", "hidden_layer_sizes": (5, 40, 7)},
    "adamax": {"optimizer": "adamax", "activation": "gelu"},
    "adagrad": {"optimizer": "adagrad", "activation": "silu"},
    "lion": {"optimizer": "lion", "activation": ["tanh", "elu"], "n_hidden": 2},
}


@pytest.mark.parametrize("network", WIDE_ENOUGH.values(), ids=WIDE_ENOUGH)
def test_added_units_change_nothing(data, xla, monkeypatch, network):
    X, y = data
    callback = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    more = {"dtype": "float64", "epochs": 4, "early_stopping": True}
    model = MLPKerasRegressor(**{**SMALL, **more, **network}, callbacks=[callback])
    wide = model.fit(X, y).predict(X), model.history_, state_of(model)
    monkeypatch.setattr("skann._training.graph.widths.WIDTHS", ())
    own = model.fit(X, y).predict(X), model.history_, state_of(model)
    np.testing.assert_allclose(wide[0], own[0], rtol=1e-9)
    for name, values in own[1].items():
        np.testing.assert_allclose(wide[1][name], values, rtol=1e-6)
    for a, b in zip(wide[2], own[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-12)


def state_of(model):
    variables = (*model.model_.variables, *model.model_.optimizer.variables)
    return [v.numpy() for v in variables]


def test_layers_that_zeros_would_change_keep_their_width(data, xla):
    X, y = data
    PROGRAMS.clear()
    for network in ({"activation": "sigmoid"}, {"normalization": "layer"}):
        for n_neurons in (20, 30):
            model = MLPKerasRegressor(**{**SMALL, "n_neurons": n_neurons}, **network)
            assert programs_made_by(lambda model=model: model.fit(X, y)) == 1


def test_callbacks_see_and_change_what_is_trained(data, xla):
    X, y = data
    seen = []

    class Meddle(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(np.abs(self.model.layers[0].kernel.numpy()).sum())
            if epoch == 1:
                self.model.layers[0].kernel.assign(np.zeros((10, 20)))
                self.model.optimizer.learning_rate = 0.0

    model = MLPKerasRegressor(**{**SMALL, "n_neurons": 20, "epochs": 4})
    model.fit(X, y, callbacks=[Meddle()])
    assert seen[0] != seen[1]
    assert seen[2:] == [0, 0]


def closing_over(power):
    def loss(y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** power, axis=-1)

    return loss


def test_functions_are_told_apart_by_what_they_close_over():
    def compiled(power):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", closing_over(power))
        key = description_of(model).key
        assert key is not None
        return key

    assert compiled(1.5) == compiled(1.5)
    assert compiled(1.5) != compiled(2.0)


def test_layers_are_told_apart_by_the_arrays_they_hold():
    def adapted(X):
        layer = keras.layers.Normalization()
        layer.adapt(X)
        model = keras.Sequential([keras.Input((2,)), layer, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        key = description_of(model).key
        assert key is not None
        return key

    X = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    assert adapted(X) == adapted(X)
    assert adapted(X) != adapted(3 * X)


@pytest.mark.parametrize("same", [True, False], ids=["same", "other"])
def test_two_fits_at_a_time_are_as_good_as_alone(data, xla, same):
    X, y = data
    made = [
        {**SMALL, "dropout": 0.2, "epochs": 20, "random_state": seed}
        | ({} if same else {"n_neurons": 20 + seed})
        for seed in range(4)
    ]
    alone = [MLPKerasRegressor(**kwargs).fit(X, y) for kwargs in made]
    together = [MLPKerasRegressor(**kwargs) for kwargs in made]
    threads = [threading.Thread(target=model.fit, args=(X, y)) for model in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.predict(X), b.predict(X))


REPEAT = """
import sys
from sklearn.datasets import load_diabetes, load_digits
from sklearn.preprocessing import scale
from skann import MLPKerasClassifier, MLPKerasRegressor
import skann._training.work as work
X, y = load_diabetes(return_X_y=True)
# In XLA and in the graph, each the first of its kind in one of the two processes.
for few in map(int, sys.argv[1:]):
    work.STEPS_WORTH_COMPILING = few
    model = MLPKerasRegressor(n_neurons=12, dropout=0.2, epochs=3, random_state=0)
    print(few, model.fit(scale(X), y).predict(scale(X)).tobytes().hex())
"""


def test_a_seed_gives_the_same_bits_in_every_process():
    xla, graph = "0", "1000000"
    first, second = (
        subprocess.run(
            [sys.executable, "-c", REPEAT, *few],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for few in ([xla, graph], [graph, xla])
    )
    assert first == second[::-1]
    told = dict(line.split() for line in first)
    assert [len(bits) for bits in told.values()] == [442 * 16] * 2
    # Another generator draws in XLA: both ways were gone.
    assert told[xla] != told[graph]


def test_a_seed_gives_the_same_bits_with_the_cache_cold_and_warm(data, xla):
    X, y = data
    model = MLPKerasRegressor(**{**SMALL, "n_neurons": 17, "dropout": 0.2})
    cold = model.fit(X, y).predict(X)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), cold)


def needs_python(y_true, y_pred):
    error = tf.numpy_function(np.square, [y_true - y_pred], tf.float32)
    error.set_shape(y_pred.shape)
    return tf.reduce_mean(tf.square(y_true - y_pred), axis=-1) + 0 * error[:, 0]


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"loss": needs_python, "dtype": "float32"}, "XLA cannot compile"),
        (
            {"callbacks": [keras.callbacks.TerminateOnNaN()]},
            "TerminateOnNaN is called every batch",
        ),
        ({"model": lambda: eager()}, "run_eagerly=True"),
    ],
    ids=["no XLA", "batches", "eager"],
)
def test_what_cannot_run_compiled_is_trained_by_keras(
    data, xla, capsys, kwargs, reason
):
    X, y = data
    plain = {} if "model" in kwargs else SMALL
    kwargs = {**plain, "epochs": 1, **kwargs}
    model = MLPKerasRegressor(**kwargs).fit(X, y, verbose=2)
    assert model.engine_ == "keras"
    assert reason in capsys.readouterr().out
    with pytest.raises(EngineError, match=reason):
        MLPKerasRegressor(**kwargs, engine="compiled").fit(X, y)


def eager():
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    return model


AUGMENTATIONS = {
    "RandomZoom": lambda: keras.layers.RandomZoom(0.1),
    "RandomRotation": lambda: keras.layers.RandomRotation(0.1),
    "RandomTranslation": lambda: keras.layers.RandomTranslation(0.1, 0.1),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_layer_that_xla_cannot_run_is_named_in_one_line(xla, capsys, name):
    def build():
        layers = [keras.Input((4, 4, 1)), AUGMENTATIONS[name]()]
        layers += [keras.layers.Flatten(), keras.layers.Dense(1)]
        return keras.Sequential(layers)

    X = np.random.default_rng(0).normal(size=(32, 4, 4, 1))
    model = MLPKerasRegressor(build, epochs=1, random_state=0)
    assert model.fit(X, X[:, 0, 0, 0], verbose=2).engine_ == "keras"
    told = [line for line in capsys.readouterr().out.splitlines() if "skann:" in line]
    assert len(told) == 1
    assert re.search(rf"XLA cannot compile it \(.*the layer {name}\)", told[0])
    with pytest.raises(EngineError, match=rf"^[^\n]*the layer {name}[^\n]*$"):
        model.set_params(engine="compiled").fit(X, X[:, 0, 0, 0])


def test_engine_keras_takes_the_same_steps(data):
    X, y = data
    ours = MLPKerasRegressor(**SMALL, dropout=0.2).fit(X, y)
    theirs = MLPKerasRegressor(**SMALL, dropout=0.2, engine="keras").fit(X, y)
    assert (ours.engine_, theirs.engine_) == ("graph", "keras")
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)


@pytest.mark.parametrize("n_steps_a_chunk", [1, 3])
def test_chunks_change_nothing(data, xla, monkeypatch, n_steps_a_chunk):
    X, y = data
    model = MLPKerasRegressor(**SMALL, batch_size=20, dtype="float64")
    PROGRAMS.clear()
    sizes = []
    take = Feed.take

    def watched(feed, positions):
        if len(feed) == len(X):  # And not the validation set, which needs no program.
            sizes.append(len(positions))
        return take(feed, positions)

    monkeypatch.setattr(Feed, "take", watched)
    whole = model.fit(X, y, X_val=X[:99], y_val=y[:99])
    assert max(sizes) > 3 * 20
    expected = whole.predict(X), whole.history_
    monkeypatch.setattr("skann._data.feed.MOST_STEPS", n_steps_a_chunk)
    PROGRAMS.clear()  # The programs made so far are for longer chunks.
    sizes.clear()
    chunked = model.fit(X, y, X_val=X[:99], y_val=y[:99])
    assert max(sizes) == n_steps_a_chunk * 20
    np.testing.assert_allclose(chunked.predict(X), expected[0], rtol=1e-9)
    for name, values in expected[1].items():
        np.testing.assert_allclose(chunked.history_[name], values, rtol=1e-6)


def test_memory_mapped_rows_are_read_where_they_are(data, tmp_path):
    X, y = data
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    a = MLPKerasRegressor(**SMALL).fit(mapped, y).predict(mapped)
    np.testing.assert_array_equal(a, MLPKerasRegressor(**SMALL).fit(X, y).predict(X))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("small", [True, False])
def test_rows_in_any_order_of_memory_train_the_same(data, monkeypatch, order, small):
    X, y = data
    expected = MLPKerasRegressor(**SMALL).fit(X, y).predict(X)
    if not small:
        monkeypatch.setattr("skann._data.feed.SMALL_BYTES", 0)
    in_order = []

    def watched(X, rows, dtype):
        in_order.append(X.flags.c_contiguous)
        return dense_rows(X, rows, dtype)

    monkeypatch.setattr("skann._data.feed.dense_rows", watched)
    other = np.array(X, order=order)
    got = MLPKerasRegressor(**SMALL).fit(other, y).predict(X)
    np.testing.assert_array_equal(got, expected)
    assert set(in_order) == {small or order == "C"}


def blas_threads():
    info = ThreadpoolController().select(user_api="blas").info()
    return [library["num_threads"] for library in info]


def test_blas_has_one_thread_until_the_last_fit_ends(data):
    before = blas_threads()
    seen, meet = [], threading.Barrier(2)

    def look(epoch, logs):
        if epoch == 0:
            meet.wait(60)  # Both fits are running.
            seen.append(blas_threads())

    def fit(epochs):
        callback = keras.callbacks.LambdaCallback(on_epoch_end=look)
        params = {**SMALL, "epochs": epochs, "callbacks": [callback]}
        MLPKerasRegressor(**params).fit(*data)

    threads = [threading.Thread(target=fit, args=(n,)) for n in (1, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 2
    assert all(n == 1 for numbers in seen for n in numbers)
    assert blas_threads() == before


@pytest.mark.parametrize("first", ["fit", "limit"])
def test_a_limit_of_the_users_has_its_effect_beside_fits(data, first):
    before = blas_threads()
    with threadpool_limits(2, user_api="blas") if first == "limit" else nullcontext():
        inside = blas_threads()
        # In another thread, which the first one to set a limit would keep from it.
        thread = threading.Thread(target=MLPKerasRegressor(**SMALL).fit, args=data)
        thread.start()
        thread.join()
        assert blas_threads() == inside
    with threadpool_limits(3, user_api="blas"):
        assert blas_threads() == [3] * len(before)
    assert blas_threads() == before


def test_blas_has_its_threads_back_after_a_fit_that_fails(data):
    before = blas_threads()
    fail = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        MLPKerasRegressor(**SMALL, callbacks=[fail]).fit(*data)
    assert blas_threads() == before


def test_sparse_rows_are_never_dense_as_a_whole(monkeypatch):
    X = sparse.random_array((20_000, 500), density=0.001, format="csr", rng=0)
    y = np.asarray(X.sum(axis=1)).ravel()
    largest = []
    to_dense = sparse.csr_array.toarray

    def watched(self, *args, **kwargs):
        largest.append(self.shape[0] * self.shape[1])
        return to_dense(self, *args, **kwargs)

    monkeypatch.setattr(sparse.csr_array, "toarray", watched)
    model = MLPKerasRegressor(n_hidden=0, epochs=1, random_state=0).fit(X, y)
    model.predict(X)
    assert 0 < max(largest) <= 2 * 2**20


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_runs_compiled(data, xla, dtype):
    X, y = data
    model = MLPKerasRegressor(
        dtype=dtype, n_neurons=20, dropout=0.1, epochs=30, random_state=0
    )
    model.fit(X, y)
    assert model.engine_ == "compiled"
    assert model.score(X, y) > 0.3
    assert model.model_.layers[0].compute_dtype == dtype.removeprefix("mixed_")


def convolutional(input_shape):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Reshape((*input_shape, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.SpatialDropout2D(0.1),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ]
    )


def test_convolutions_over_images_run_compiled(xla):
    digits = load_digits()
    model = MLPKerasClassifier(convolutional, epochs=15, random_state=0)
    model.fit(digits.images[:600], digits.target[:600])
    assert model.engine_ == "compiled"
    assert model.score(digits.images[600:900], digits.target[600:900]) > 0.8
