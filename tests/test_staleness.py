"""Predictions and fits follow what is changed in place of a fitted network."""

import os
import types

import keras
import numpy as np
import pytest
from keras import ops

from skann import MLPKerasRegressor
from skann._training.graph.cache import PROGRAMS

SMALL = {"epochs": 2, "random_state": 0, "shuffle": False, "normalize_y": False}
X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = X[:, 0] + X[:, 1] * X[:, 2]
settings = types.SimpleNamespace(alpha=0.5)


class Own(keras.layers.Layer):
    by = 1.0

    def call(self, x):
        return x * self.by * settings.alpha


def stack(input_shape):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(1),
        ]
    )


def functional(input_shape):
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Dense(4, activation="tanh")(inputs)
    hidden = keras.layers.LeakyReLU(0.1)(hidden)
    hidden = keras.layers.Concatenate()([hidden, Own()(hidden)])
    return keras.Model(inputs, keras.layers.Dense(1)(hidden))


def by_keras(model):
    return np.asarray(model.model_(X, training=False))[:, 0]


def layer(model, kind):
    return next(x for x in model.model_.layers if isinstance(x, kind))


def set_to(kind, name, value):
    return lambda model: setattr(layer(model, kind), name, value)


CHANGES = {
    "activation": (stack, set_to(keras.layers.Dense, "activation", ops.sin)),
    "Keras' activation": (
        stack,
        set_to(keras.layers.Dense, "activation", keras.activations.relu),
    ),
    "epsilon": (stack, set_to(keras.layers.BatchNormalization, "epsilon", 3.0)),
    "call": (stack, set_to(keras.layers.BatchNormalization, "call", lambda x, **_: -x)),
    "call of the model": (
        stack,
        lambda model: setattr(model.model_, "call", lambda x, **_: 2 * x[:, :1]),
    ),
    "a layer's weights": (
        stack,
        lambda model: layer(model, keras.layers.Dense).kernel.assign(np.ones((3, 4))),
    ),
    "activation, functional": (
        functional,
        set_to(keras.layers.Dense, "activation", ops.sin),
    ),
    "slope": (functional, set_to(keras.layers.LeakyReLU, "negative_slope", 0.9)),
    "attribute": (functional, set_to(Own, "by", 3.0)),
    "class attribute": (functional, lambda model: setattr(Own, "by", 3.0)),
    "object": (functional, lambda model: setattr(settings, "alpha", 2.0)),
}


@pytest.fixture(autouse=True)
def put_back():
    yield
    settings.alpha, Own.by = 0.5, 1.0


@pytest.mark.parametrize(("build", "change"), CHANGES.values(), ids=CHANGES)
def test_predictions_follow_what_is_changed_in_place(build, change):
    model = MLPKerasRegressor(build, **SMALL).fit(X, Y)
    before = model.predict(X)
    np.testing.assert_allclose(before, by_keras(model), rtol=1e-4, atol=1e-5)
    change(model)
    after = model.predict(X)
    np.testing.assert_allclose(after, by_keras(model), rtol=1e-4, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(model.predict(X), after)


def activation(z):
    return ops.tanh(z) * settings.alpha


def test_predictions_of_a_model_that_nobody_has_follow_what_its_code_reads():
    model = MLPKerasRegressor(n_neurons=4, activation=activation, **SMALL).fit(X, Y)
    before = model.predict(X)
    settings.alpha = 2.0
    after = model.predict(X)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, by_keras(model), rtol=1e-4, atol=1e-5)


def test_predictions_follow_what_cannot_be_described(monkeypatch):
    def reads(z):
        return ops.tanh(z) * float(os.environ.get("ALPHA_OF_A_TEST", "1"))

    model = MLPKerasRegressor(n_neurons=4, activation=reads, **SMALL).fit(X, Y)
    before = model.predict(X)
    n_programs = len(PROGRAMS)
    monkeypatch.setenv("ALPHA_OF_A_TEST", "3")
    after = model.predict(X)
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, by_keras(model), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.predict(X[:7]), after[:7])
    assert len(PROGRAMS) == n_programs


@pytest.mark.parametrize("build", [stack, functional])
def test_looking_at_a_model_changes_no_program(build):
    model = MLPKerasRegressor(build, **SMALL).fit(X, Y)
    expected = model.predict(X)
    n_programs = len(PROGRAMS)
    model.model_.predict(X, verbose=0)
    model.model_.evaluate(X, Y, verbose=0)
    model.model_.summary(print_fn=lambda text: None)
    np.testing.assert_array_equal(model.predict(X), expected)
    assert len(PROGRAMS) == n_programs


def test_a_fit_that_goes_on_follows_what_is_changed_in_place():
    def fitted(engine, alpha):
        model = MLPKerasRegressor(
            functional, engine=engine, warm_start=True, optimizer="sgd", **SMALL
        ).fit(X, Y)
        layer(model, keras.layers.LeakyReLU).negative_slope = alpha
        layer(model, Own).by = alpha
        return model.fit(X, Y)

    ours, theirs = fitted("compiled", 2.0), fitted("keras", 2.0)
    for name, values in theirs.history_.items():
        np.testing.assert_allclose(ours.history_[name], values, rtol=1e-5)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4, atol=1e-5)
    other = fitted("keras", 1.0)
    assert not np.allclose(other.history_["loss"], theirs.history_["loss"], rtol=1e-3)
