"""Build functions: the plain one of a tutorial, scikeras' protocol, ready models."""

import functools
import random

import keras
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann.exceptions import ModelError
from skann.models import build_mlp


@pytest.fixture(scope="module")
def data():
    X, y = load_diabetes(return_X_y=True)
    return scale(X)[:150], y[:150]


def tutorial(n_hidden=1, n_neurons=30, learning_rate=3e-3, input_shape=[8], n_extra=0):  # noqa: B006
    """The function of many a Keras tutorial; `n_extra` is no parameter of skann's."""
    model = keras.models.Sequential()
    model.add(keras.layers.InputLayer(shape=input_shape))
    for _ in range(n_hidden):
        model.add(keras.layers.Dense(n_neurons + n_extra, activation="relu"))
    model.add(keras.layers.Dense(1))
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(learning_rate))
    return model


def uncompiled(meta, width=5):
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(width, activation="tanh"),
            keras.layers.Dense(meta["n_outputs_"]),
        ]
    )


def compiles_itself(meta, compile_kwargs):
    model = uncompiled(meta)
    model.compile(**compile_kwargs)
    return model


def functional(input_shape, n_outputs):
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    outputs = keras.layers.Dense(n_outputs)(
        keras.layers.Concatenate()([inputs, hidden])
    )
    return keras.Model(inputs, outputs)


class Wide(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.hidden = keras.layers.Dense(units, activation="relu")
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))


def subclassed(width=8):
    return Wide(width)


@pytest.mark.parametrize(
    "build_fn",
    [
        tutorial,
        uncompiled,
        compiles_itself,
        functional,
        subclassed,
        functools.partial(uncompiled, width=4),
        lambda meta: uncompiled(meta),
    ],
    ids=lambda f: getattr(f, "__name__", "partial"),
)
def test_every_kind_of_build_function(data, build_fn):
    X, y = data
    model = MLPKerasRegressor(build_fn, epochs=40, learning_rate=0.003, random_state=0)
    model.fit(X, y)
    assert model.engine_ in ("numpy", "graph")
    assert model.predict(X).shape == y.shape
    assert model.history_["loss"][-1] < model.history_["loss"][0]
    np.testing.assert_allclose(model.predict(X[:3]), model.predict(X)[:3], rtol=1e-7)


def test_a_tutorials_function_takes_parameters_by_name(data):
    X, y = data
    model = MLPKerasRegressor(tutorial, n_hidden=3, n_neurons=7, epochs=1)
    model.set_params(learning_rate=0.02, model__n_extra=2).fit(X, scale(y))
    assert [layer.units for layer in model.model_.layers] == [9, 9, 9, 1]
    assert float(model.model_.optimizer.learning_rate) == pytest.approx(0.02)
    assert isinstance(model.model_.optimizer, keras.optimizers.SGD)


def test_integers_of_numpy_reach_it_as_pythons(data):
    model = MLPKerasRegressor(tutorial, n_neurons=np.int64(6), epochs=1)
    model.set_params(model__n_extra=np.arange(3)[1]).fit(*data)
    assert model.model_.layers[0].units == 7


def test_parameters_of_the_function_are_listed_and_checked():
    model = MLPKerasRegressor(tutorial, model_kwargs={"n_extra": 1})
    assert model.get_params()["model__n_extra"] == 1
    assert MLPKerasRegressor(tutorial).get_params()["model__n_extra"] == 0
    assert "model__n_hidden" not in model.get_params()
    with pytest.raises(ValueError, match="Invalid parameter 'model__depth'"):
        model.set_params(model__depth=3)


def test_dicts_of_the_user_are_never_changed():
    given = {"n_extra": 1}
    model = MLPKerasRegressor(tutorial, model_kwargs=given).set_params(model__n_extra=5)
    assert given == {"n_extra": 1}
    assert model.model_kwargs == {"n_extra": 5}


class NeedsUnits(keras.Model):
    """A subclassed model which Keras cannot make again."""

    def __init__(self, units):
        super().__init__()
        self.out = keras.layers.Dense(units)

    def call(self, x):
        return self.out(x)


def test_a_ready_model_that_cannot_be_copied_is_refused(data):
    X, y = data
    with pytest.raises(ModelError, match=r"NeedsUnits.*Give a build function"):
        MLPKerasRegressor(NeedsUnits(1)).fit(X, y)


@pytest.mark.parametrize("compiled", [True, False])
def test_a_ready_model_is_copied_with_its_weights(data, compiled):
    X, y = data
    ready = build_mlp(1, 8, input_shape=(10,), random_state=0)
    if compiled:
        ready.compile(loss="mae", optimizer=keras.optimizers.SGD(0.0))
    before = ready.get_weights()
    model = MLPKerasRegressor(ready, epochs=2, normalize_y=False).fit(X, y)
    for a, b in zip(before, ready.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.model_ is not ready
    moved = [
        np.abs(a - b).max()
        for a, b in zip(before, model.model_.get_weights(), strict=True)
    ]
    assert (max(moved) == 0) == compiled  # at a learning rate of 0


def test_parameters_without_effect_are_errors(data):
    X, y = data
    with pytest.raises(ValueError, match=r"dropout=0\.5 would have no effect"):
        MLPKerasRegressor(tutorial, dropout=0.5).fit(X, y)
    with pytest.raises(ValueError, match="loss='mae' would have no effect"):
        MLPKerasRegressor(tutorial, loss="mae").fit(X, y)
    ready = build_mlp(1, 8, input_shape=(10,))
    with pytest.raises(ValueError, match="n_hidden=3 would have no effect"):
        MLPKerasRegressor(ready, n_hidden=3).fit(X, y)


@pytest.mark.parametrize(
    ("build_fn", "message"),
    [
        (lambda: None, "returned NoneType"),
        (lambda: keras.layers.Dense(1), "returned Dense"),
        (
            lambda: build_mlp(0, input_shape=(10,), n_outputs=2),
            r"shape \(2,\) for each",
        ),
        (
            lambda: build_mlp(0, input_shape=(4,)),
            r"does not take rows of shape \(10,\)",
        ),
    ],
)
def test_what_cannot_be_trained_is_said(data, build_fn, message):
    X, y = data
    model = MLPKerasRegressor(build_fn)
    with pytest.raises(ModelError, match=message):
        model.fit(X, y)
    assert not hasattr(model, "n_features_in_")


def draws(input_shape):
    layer = keras.layers.Dense(1)
    model = keras.Sequential(
        [keras.Input(input_shape), keras.layers.Dropout(0.2), layer]
    )
    shape = layer.kernel.shape
    noise = np.random.normal(size=shape)  # noqa: NPY002
    layer.kernel.assign(noise + random.random() + keras.random.normal(shape))
    model.compile("sgd", "mse")
    return model


def test_random_state_decides_and_global_generators_stay_as_they_were(data):
    X, y = data
    random.seed(1)
    np.random.seed(2)  # noqa: NPY002
    keras.utils.set_random_seed(3)
    expected = random.random(), np.random.normal(), float(keras.random.normal(()))  # noqa: NPY002
    keras.utils.set_random_seed(3)
    fits = [
        MLPKerasRegressor(draws, epochs=2, random_state=seed).fit(X, y).predict(X)
        for seed in (0, 0, 1)
    ]
    assert (
        random.random(),
        np.random.normal(),  # noqa: NPY002
        float(keras.random.normal(())),
    ) == expected
    np.testing.assert_array_equal(fits[0], fits[1])
    assert np.abs(fits[0] - fits[2]).max() > 0


def test_objects_of_the_user_are_not_trained(data):
    X, y = data
    optimizer = keras.optimizers.Adam(0.01)
    metric = keras.metrics.MeanAbsoluteError()
    model = MLPKerasRegressor(optimizer=optimizer, metrics=[metric], epochs=2)
    first = model.set_params(random_state=0).fit(X, y).predict(X)
    np.testing.assert_array_equal(model.fit(X, y).predict(X), first)
    assert not optimizer.built
    assert metric.result() == 0


def logits(input_shape, n_classes):
    model = build_mlp(0, input_shape=input_shape, n_outputs=n_classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer="adam")
    return model


def test_logits_become_probabilities(data):
    X, y = data
    labels = np.digitize(y, [90, 150])
    probability = MLPKerasClassifier(logits, epochs=3).fit(X, labels).predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1)


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_layers_made_before_may_have_the_names_of_those_made_in_it(data, kind):
    X, y = data
    shared = keras.layers.Dense(4, activation="relu")  # "dense", in a new process.

    def build():
        own = keras.layers.Dense(1)  # "dense" by itself, too.
        if kind == "sequential":
            return keras.Sequential([keras.Input((10,)), shared, own])
        inputs = keras.Input((10,))
        return keras.Model(inputs, own(shared(inputs)))

    model = MLPKerasRegressor(build, epochs=2).fit(X, y)
    assert model.model_.layers[-2] is shared


@pytest.mark.parametrize(
    "message", ["The values of y must be unique.", "All names should be unique."]
)
def test_a_build_function_that_fails_is_called_once(data, message):
    calls = []

    def build():
        calls.append(1)
        raise ValueError(message)

    with pytest.raises(ValueError, match=message):
        MLPKerasRegressor(build).fit(*data)
    assert len(calls) == 1


def test_names_of_layers_are_the_same_in_every_fit(data):
    X, y = data

    def names():
        model = MLPKerasRegressor(epochs=1, n_hidden=1).fit(X, y)
        return [layer.name for layer in (model.model_, *model.model_.layers)]

    keras.layers.Dense(1)
    assert names() == names() == ["sequential", "dense", "dense_1", "unit_of_y"]
