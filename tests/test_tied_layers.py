"""Layers that share variables, or stand in a network twice."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann._training import work

# Of a kernel that nothing uses.
pytestmark = pytest.mark.filterwarnings("ignore:Gradients do not exist:UserWarning")

X, y = load_diabetes(return_X_y=True)
X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()


def stack():
    hidden = [layers.Dense(10, activation="tanh") for _ in range(2)]
    network = keras.Sequential([layers.Input((10,)), *hidden, layers.Dense(1)])
    return network, *hidden


def put_in():
    """The kernel of one layer in another, of which Keras does not know."""
    network, one, other = stack()
    object.__setattr__(other, "_kernel", one._kernel)
    return network


def bias_put_in():
    network, one, other = stack()
    object.__setattr__(other, "bias", one.bias)
    return network


def tracked():
    """The kernel of one layer in another, of which Keras knows."""
    network, one, other = stack()
    other._tracker.unlock()
    other._untrack_variable(other._kernel)
    other._kernel = one._kernel
    other._tracker.lock()
    return network


def twice():
    hidden = layers.Dense(10, activation="tanh")
    return keras.Sequential([layers.Input((10,)), hidden, hidden, layers.Dense(1)])


def twice_functional():
    hidden, inputs = layers.Dense(10, activation="tanh"), layers.Input((10,))
    return keras.Model(inputs, layers.Dense(1)(hidden(hidden(inputs))))


def twice_normalised():
    """No stack that NumPy trains."""
    hidden = layers.Dense(10, activation="tanh")
    first = [layers.Input((10,)), hidden, layers.LayerNormalization()]
    return keras.Sequential([*first, hidden, layers.Dense(1)])


TIED = [put_in, bias_put_in, tracked, twice, twice_functional, twice_normalised]


def fitted(build, engine):
    return MLPKerasRegressor(
        build, epochs=3, engine=engine, shuffle=False, random_state=0
    ).fit(X, y)


@pytest.mark.parametrize("compiled", [False, True], ids=["few steps", "compiled"])
@pytest.mark.parametrize("build", TIED)
def test_tied_layers_learn_as_by_keras(build, compiled, monkeypatch):
    if compiled:
        monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    model, expected = (fitted(build, engine) for engine in ("auto", "keras"))
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-5)
    outputs = expected.model_.predict(X, verbose=0).ravel()
    for each in (model, expected):
        np.testing.assert_allclose(each.predict(X), outputs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", TIED)
def test_tied_layers_come_back_tied(build):
    model = fitted(build, "auto")
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for each in (model, again):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
