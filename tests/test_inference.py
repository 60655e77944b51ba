"""Predictions against ``keras.Model.predict``, one row or many."""

import itertools
import threading

import keras
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from threadpoolctl import threadpool_info, threadpool_limits

from skann import MLPKerasRegressor
from skann._network.keras_network import KerasNetwork
from skann._network.layer_descriptions import dense_stack
from skann._network.layer_functions import ACTIVATIONS
from skann._network.stack import rows_in
from skann._runtime.threads import in_threads

LAYERS = keras.layers


def sequential(*layers, shape=(6,)):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), *layers])
    for variable in model.variables:  # moving statistics and gains off their defaults
        if variable.dtype == "float32":
            variable.assign(variable + keras.random.uniform(variable.shape))
    return model


def with_attention():
    inputs = keras.Input((6,))
    gate = LAYERS.Dense(6, activation="softmax")(inputs)
    return keras.Model(inputs, LAYERS.Dense(2)(LAYERS.Multiply()([inputs, gate])))


STACKS = {
    **{
        name: lambda name=name: sequential(LAYERS.Dense(5, activation=name))
        for name in ACTIVATIONS
    },
    "batch norm": lambda: sequential(
        LAYERS.Dense(5, use_bias=False), LAYERS.BatchNormalization(), LAYERS.Dense(2)
    ),
    "layer norm": lambda: sequential(LAYERS.LayerNormalization(), LAYERS.Dense(2)),
    "dropout": lambda: sequential(LAYERS.Dropout(0.5), LAYERS.Dense(2)),
    "activation": lambda: sequential(LAYERS.Activation("relu"), LAYERS.Dense(1)),
    "flatten": lambda: sequential(LAYERS.Flatten(), LAYERS.Dense(2), shape=(3, 4)),
}
OTHERS = {
    "functional": with_attention,
    "leaky layer": lambda: sequential(LAYERS.Dense(4), LAYERS.LeakyReLU(0.1)),
    "convolution": lambda: sequential(
        LAYERS.Conv1D(3, 2), LAYERS.Flatten(), LAYERS.Dense(2), shape=(5, 2)
    ),
    "own activation": lambda: sequential(LAYERS.Dense(4, activation=keras.ops.sin)),
}


def twice():
    layer = LAYERS.Dense(6, activation="relu")
    return sequential(layer, layer, LAYERS.Dense(2))


CHUNKED = {
    "rank 3": lambda: sequential(
        LAYERS.Dense(5, activation="tanh"),
        LAYERS.Flatten(),
        LAYERS.Dense(2),
        shape=(3, 4),
    ),
    "the same layer twice": twice,
}


@pytest.mark.parametrize(
    "make", [*STACKS.values(), *OTHERS.values()], ids=[*STACKS, *OTHERS]
)
def test_equals_keras(make):
    model = make()
    X = np.random.default_rng(0).normal(size=(70, *model.input_shape[1:]))
    before = X.copy()
    outputs = KerasNetwork(model).outputs(X)
    np.testing.assert_allclose(
        outputs, model.predict(X, verbose=0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(X, before)
    assert outputs.dtype == np.float64


@pytest.mark.parametrize("name", STACKS)
def test_dense_stacks_need_no_tensorflow(name):
    assert dense_stack(STACKS[name](), np.asarray) is not None


@pytest.mark.parametrize(
    ("make", "rtol"),
    # A dense stack is computed in float64, everything else in tensorflow's float32.
    [(STACKS["batch norm"], 1e-12), *((make, 1e-5) for make in OTHERS.values())],
)
def test_a_row_does_not_depend_on_its_neighbours(make, rtol):
    model = make()
    X = np.random.default_rng(0).normal(size=(70, *model.input_shape[1:]))
    together = KerasNetwork(model).outputs(X)
    alone = np.concatenate(
        [KerasNetwork(model).outputs(X[i : i + 1]) for i in range(70)]
    )
    np.testing.assert_allclose(alone, together, rtol=rtol, atol=rtol)
    mixed = KerasNetwork(model).outputs(X[::-1])[::-1]
    np.testing.assert_allclose(mixed, together, rtol=rtol, atol=rtol)


def mapped(X, directory):
    np.save(directory / "X.npy", X)
    return np.load(directory / "X.npy", mmap_mode="r")


def sizes_of_chunks(module, monkeypatch):
    """Return a list in which the numbers of rows appear that a module takes at once."""
    sizes, name = [], f"skann._network.{module}.rows_in"

    def watched(X, rows, dtype):
        x = rows_in(X, rows, dtype)
        sizes.append(len(x))
        return x

    monkeypatch.setattr(name, watched)
    return sizes


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("name", [*STACKS, *CHUNKED])
def test_a_stack_takes_many_rows_in_chunks_and_threads(
    name, n_threads, monkeypatch, tmp_path
):
    model = {**STACKS, **CHUNKED}[name]()
    X = np.random.default_rng(0).normal(size=(1001, *model.input_shape[1:]))
    whole = KerasNetwork(model).outputs(X)
    before = X.copy()
    monkeypatch.setattr("skann._network.stack.STACK_BYTES", 6000)
    monkeypatch.setattr("skann._runtime.threads._n_blas_threads", lambda: n_threads)
    network = KerasNetwork(model)
    sizes = sizes_of_chunks("stack", monkeypatch)
    for rows in (X, mapped(X, tmp_path), X[:2], X[:150]):
        sizes.clear()
        outputs = network.outputs(rows)
        assert sum(sizes) == len(rows)
        assert len(sizes) > (len(rows) == 1001)
        np.testing.assert_allclose(outputs, whole[: len(rows)], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(X, before)
    if X.ndim == 2:
        outputs = network.outputs(sparse.csr_matrix(X))
        np.testing.assert_allclose(outputs, whole, rtol=1e-12, atol=1e-12)


def test_other_networks_take_many_rows_in_chunks(monkeypatch):
    model = OTHERS["functional"]()
    X = np.random.default_rng(0).normal(size=(1000, 6))
    whole = KerasNetwork(model).outputs(X)
    monkeypatch.setattr("skann._network.keras_network.CHUNK_BYTES", 1000)
    sizes = sizes_of_chunks("keras_network", monkeypatch)
    np.testing.assert_allclose(KerasNetwork(model).outputs(X), whole, rtol=1e-5)
    assert max(sizes) * 8 * 6 <= 1000
    assert sum(sizes) == 1000


def test_what_fails_in_a_thread_is_raised_and_blas_has_its_threads_back(monkeypatch):
    monkeypatch.setattr("skann._runtime.threads._n_blas_threads", lambda: 2)
    before = [library["num_threads"] for library in threadpool_info()]

    def fail(items):
        worked.add(threading.get_ident())
        if 3 in items:
            raise MemoryError("no room")
        return items

    worked = set()
    assert in_threads(fail, [0, 1, 2]) == [0, 1, 2]
    assert len(worked) == 2
    for items in ([3, 1], [1, 3]):
        with pytest.raises(MemoryError, match="no room"):
            in_threads(fail, items)
    assert [library["num_threads"] for library in threadpool_info()] == before


@pytest.mark.parametrize("name", ["relu", "batch norm"])
def test_changed_weights_are_noticed(name):
    model = STACKS[name]()
    model.compile("sgd", "mse")
    X = np.random.default_rng(0).normal(size=(70, *model.input_shape[1:]))
    network = KerasNetwork(model)

    def fitted():
        model.fit(X, np.ones((70, model.output_shape[-1])), verbose=0)

    def assigned():
        model.layers[0].kernel.assign(2 * model.layers[0].kernel)

    def set_all():
        model.set_weights([w + 0.1 for w in model.get_weights()])

    for change in (fitted, assigned, set_all, fitted):
        before = network.outputs(X)
        np.testing.assert_array_equal(network.outputs(X), before)
        change()
        after = network.outputs(X)
        assert np.abs(after - before).max() > 1e-6
        np.testing.assert_array_equal(after, KerasNetwork(model).outputs(X))


class Keeps(keras.callbacks.Callback):
    """Hands out the model that it was fitted with."""

    kept = []

    def on_epoch_end(self, epoch, logs=None):
        self.kept.append(self.model)


BUILT = []


def kept_by_its_builder(input_shape, n_outputs):
    BUILT.append(sequential(LAYERS.Dense(n_outputs), shape=input_shape))
    return BUILT[-1]


# How someone comes to have the model of an estimator, before its first prediction.
HAVING = {
    "model_": (lambda estimator, X, y: estimator.fit(X, y).model_, {}),
    "callback": (
        lambda estimator, X, y: (
            estimator.fit(X, y, callbacks=[Keeps()]) and Keeps.kept[-1]
        ),
        {},
    ),
    "build function": (
        lambda estimator, X, y: estimator.fit(X, y) and BUILT[-1],
        {"model": kept_by_its_builder},
    ),
    "set": (lambda estimator, X, y: _put_in(estimator.fit(X, y)), {}),
    "warm start": (lambda estimator, X, y: _gone_on(estimator.fit(X, y), X, y), {}),
}


def _put_in(estimator):
    estimator.model_ = model = sequential(LAYERS.Dense(1), shape=(8,))
    return model


def _gone_on(estimator, X, y):
    model = estimator.model_
    estimator.set_params(warm_start=True).fit(X, y)
    return model


@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["late", "early"])
@pytest.mark.parametrize("way", HAVING)
def test_who_has_the_model_may_change_it(way, dropout, california):
    have, params = HAVING[way]
    if not params:
        params = {"n_neurons": 8, "dropout": dropout}
    estimator = MLPKerasRegressor(**params, epochs=2, random_state=0)
    X, y = california
    model = have(estimator, X, y)
    before = estimator.predict(X)
    np.testing.assert_array_equal(estimator.predict(X), before)
    model.set_weights([w + 0.1 for w in model.get_weights()])
    assert np.abs(estimator.predict(X) - before).max() > 1e-6
    assert model is estimator.model_


@pytest.mark.parametrize("dropout", [0.0, 0.5], ids=["late", "early"])
def test_training_that_goes_on_shows_in_predictions(dropout, california):
    X, y = california
    seen = []

    class Predicts(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(estimator.predict(X))

    estimator = MLPKerasRegressor(
        n_neurons=8, dropout=dropout, epochs=2, random_state=0, warm_start=True
    ).fit(X, y)
    seen.append(estimator.predict(X))
    estimator.fit(X, y)
    seen.append(estimator.predict(X))
    estimator.fit(X, y, callbacks=[Predicts()])
    assert len(seen) == 4
    for earlier, later in itertools.pairwise(seen):
        assert np.abs(earlier - later).max() > 1e-6
    np.testing.assert_array_equal(estimator.predict(X), seen[-1])


def test_weights_that_change_meanwhile_are_not_kept(california, monkeypatch):
    X, y = california
    estimator = MLPKerasRegressor(n_neurons=8, epochs=1, dropout=0.5, random_state=0)
    estimator.fit(X, y)
    stack = dense_stack

    def interrupted(*arguments):
        monkeypatch.setattr("skann._network.keras_network.dense_stack", stack)
        made = stack(*arguments)
        estimator.partial_fit(X, y)  # As another thread may do it.
        return made

    monkeypatch.setattr("skann._network.keras_network.dense_stack", interrupted)
    before = estimator.predict(X)
    expected = clone(estimator).fit(X, y).partial_fit(X, y).predict(X)
    assert np.abs(expected - before).max() > 1e-6
    np.testing.assert_array_equal(estimator.predict(X), expected)


def test_an_activation_may_be_set_to_another(california):
    X, y = california
    estimator = MLPKerasRegressor(n_neurons=8, epochs=1, random_state=0).fit(X, y)
    model = estimator.model_
    before = estimator.predict(X)
    model.layers[0].activation = keras.activations.tanh
    after = estimator.predict(X)
    assert np.abs(after - before).max() > 1e-6
    expected = estimator._target.decode(KerasNetwork(model).outputs(X))
    np.testing.assert_array_equal(after, expected)


def test_nobodys_weights_are_not_read_again(california, monkeypatch):
    X, y = california
    estimator = MLPKerasRegressor(n_neurons=8, epochs=2, dropout=0.5, random_state=0)
    expected = estimator.fit(X, y).predict(X)
    monkeypatch.setattr("skann._network.keras_network.values_of", None)
    np.testing.assert_array_equal(estimator.predict(X), expected)
    assert estimator.model_ is not None
    with pytest.raises(TypeError):
        estimator.predict(X)


def test_an_array_predicts_as_what_has_to_be_converted(california):
    X, y = california
    model = MLPKerasRegressor(n_neurons=8, epochs=1, random_state=0).fit(X, y)
    expected = model.predict(X.tolist())
    for same in (X, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        np.testing.assert_array_equal(model.predict(same), expected)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda X: X[:0], "0 sample"),
        (lambda X: X[:, :-1], "7 features"),
        (lambda X: X[0], "2D array|1 features|Reshape"),
        (lambda X: np.where(np.eye(len(X), 8), np.nan, X), "NaN"),
        (lambda X: np.where(np.eye(len(X), 8), -np.inf, X), "infinity"),
        (lambda X: X.astype("datetime64[s]"), "must hold numbers|DType"),
    ],
)
def test_a_bad_array_is_found(spoil, said, california):
    X, y = california
    model = MLPKerasRegressor(n_neurons=8, epochs=1, random_state=0).fit(X, y)
    with pytest.raises((ValueError, TypeError), match=said):
        model.predict(spoil(X))


@pytest.mark.parametrize("n_rows", [1, 2, 5, 50, 442, 3000])
def test_predictions_do_not_depend_on_blas_threads(n_rows):
    X = np.random.default_rng(0).normal(size=(n_rows, 784))
    model = MLPKerasRegressor(n_neurons=300, epochs=1, random_state=0)
    model.fit(X[:20], X[:20, 0])
    found = []
    for limit in (1, 2, 3):
        with threadpool_limits(limit, user_api="blas"):
            found.append(model.predict(X).tobytes())
    assert len(set(found)) == 1
