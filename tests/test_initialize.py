"""Networks that are built for data and not trained."""

import pickle

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skann import MLPKerasClassifier, MLPKerasRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, 2.0, -1.0] + 5.0
LABELS = np.array(["a", "b", "c"])[np.arange(40) % 3]
FEW = {"epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def pretrained():
    """A Keras model that was trained before, for y in its own unit."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.3), "mse")
    model.fit(X, Y, epochs=30, verbose=0)
    return model


def test_a_pretrained_network_predicts_without_training(pretrained):
    model = MLPKerasRegressor(pretrained).initialize(X[:2], Y[:2])
    expected = pretrained.predict(X, verbose=0).ravel()
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)
    assert model.score(X, Y) > 0.9
    assert model.n_iter_ == 0
    assert model.n_features_in_ == 3
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_pretrained_classifier_predicts_the_users_labels():
    network = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, "softmax", name="out")]
    )
    model = MLPKerasClassifier(network).initialize(X, LABELS)
    codes = network.predict(X, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(model.predict(X), model.classes_[codes])
    np.testing.assert_array_equal(model.classes_, ["a", "b", "c"])


@pytest.mark.parametrize("way", ["partial_fit", "warm_start"])
def test_training_goes_on_from_there(way):
    model = MLPKerasRegressor(**FEW).initialize(X, Y)
    before = model.model_.get_weights()
    plain = MLPKerasRegressor(**FEW)
    if way == "partial_fit":
        model.partial_fit(X, Y)
        plain.partial_fit(X, Y)
    else:
        model.set_params(warm_start=True).fit(X, Y)
        plain.fit(X, Y)
    assert model.n_iter_ == plain.n_iter_ == len(model.history_["loss"])
    assert np.abs(model.model_.get_weights()[0] - before[0]).max() > 0
    np.testing.assert_allclose(model.predict(X), plain.predict(X), rtol=1e-9)


def test_the_learning_rate_is_tested_in_the_first_training():
    model = MLPKerasRegressor(learning_rate="auto", warm_start=True, **FEW)
    model.initialize(X, Y)
    assert not hasattr(model, "learning_rate_")
    rate = model.fit(X, Y).learning_rate_
    plain = MLPKerasRegressor(learning_rate="auto", **FEW).fit(X, Y)
    assert rate == pytest.approx(plain.learning_rate_)
    assert model.fit(X, Y).learning_rate_ == rate


def test_fit_begins_anew_without_warm_start():
    model = MLPKerasRegressor(metrics=["mae"], **FEW).initialize(X, Y)
    plain = clone(model).fit(X, Y)
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), plain.predict(X))
    assert model.history_ == plain.history_


def test_metrics_are_reported_from_the_first_training_on():
    model = MLPKerasRegressor(metrics=["mae"], **FEW).initialize(X, Y)
    model.partial_fit(X, Y)
    assert [len(values) for values in model.history_.values()] == [1, 1]


def test_bad_parameters_are_refused_and_leave_nothing():
    model = MLPKerasRegressor(n_neurons=-1)
    with pytest.raises(ValueError, match="n_neurons"):
        model.initialize(X, Y)
    with pytest.raises(ValueError, match="NaN"):
        model.set_params(n_neurons=3).initialize(X * np.nan, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)
