"""Several outputs for a single y: quantiles, or a mean and a variance."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import mean_pinball_loss
from sklearn.model_selection import GridSearchCV

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann.exceptions import ModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 2))
Y = 1.0 + X[:, 0] + 0.5 * RNG.normal(size=400)
QUANTILES = np.array([0.1, 0.5, 0.9])


def quantile_loss(y_true, y_pred):
    error = y_true - y_pred
    q = ops.convert_to_tensor(QUANTILES, y_pred.dtype)
    return ops.mean(ops.maximum(q * error, (q - 1.0) * error), axis=-1)


class GaussianLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        mean, log_variance = y_pred[:, :1], y_pred[:, 1:]
        squares = ops.square(y_true - mean) * ops.exp(-log_variance)
        return ops.mean(squares + log_variance, axis=-1)


def network(n_units=3):
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(16, activation="relu"),
            layers.Dense(n_units),
        ]
    )


def compiled(n_units=3):
    model = network(n_units)
    model.compile(keras.optimizers.Adam(0.02), quantile_loss)
    return model


class OwnStep(keras.Model):
    def __init__(self, n_units):
        super().__init__()
        self.layer = layers.Dense(n_units)

    def call(self, rows):
        return self.layer(rows)

    def compute_loss(self, x, y, y_pred, sample_weight, training):
        return ops.mean(quantile_loss(y, y_pred))


def own_step(n_units=3):
    model = OwnStep(n_units)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    return model


def regressor(model=network, **params):
    return MLPKerasRegressor(
        model, **{"epochs": 25, "random_state": 0, "early_stopping": False} | params
    )


WAYS = {
    "function": {"loss": quantile_loss, "learning_rate": 0.02},
    "compiled": {"model": compiled},
    "ready": {"model": compiled()},
    "own step": {"model": own_step},
    "built-in": {
        "model": None,
        "model_kwargs": {"n_outputs": 3},
        "loss": quantile_loss,
        "learning_rate": 0.03,
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_quantiles(way):
    y = Y[:, None] if way in ("ready", "built-in") else Y
    model = regressor(**WAYS[way]).fit(X, y)
    predicted = model.predict(X)
    assert predicted.shape == (400, 3)
    share = np.mean(Y[:, None] < predicted, axis=0)
    assert_allclose(share, QUANTILES, atol=0.15)
    assert_allclose(model.model_.predict(X, verbose=0), predicted, rtol=1e-4, atol=1e-5)
    assert model.n_outputs_ == 1
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), predicted)
    with pytest.raises(ValueError, match=r"different number of output \(1!=3\)"):
        model.score(X, y)


def test_engines_agree():
    params = {**WAYS["function"], "shuffle": False, "epochs": 3}
    a, b = (regressor(**params, engine=e).fit(X, Y) for e in ("auto", "keras"))
    assert_allclose(a.predict(X), b.predict(X), rtol=1e-5)
    assert_allclose(a.history_["loss"], b.history_["loss"], rtol=1e-5)


def test_a_mean_and_a_variance():
    model = regressor(
        model_kwargs={"n_units": 2}, loss=GaussianLoss(), learning_rate=0.02, epochs=60
    ).fit(X, Y, X_val=X[:50], y_val=Y[:50])
    mean, log_variance = model.predict(X).T
    assert np.corrcoef(mean, Y)[0, 1] > 0.8
    assert 0.3 < np.sqrt(np.exp(log_variance)).mean() < 0.7
    model.partial_fit(X, Y)
    assert model.predict(X[:1]).shape == (1, 2)


def upper(estimator, X, y):
    return -mean_pinball_loss(y, estimator.predict(X)[:, 2], alpha=0.9)


def test_searches_by_a_scorer_of_the_users():
    model = regressor(loss=quantile_loss, epochs=3)
    grid = {"learning_rate": [1e-4, 0.1]}
    search = GridSearchCV(model, grid, scoring=upper, cv=2).fit(X, Y)
    assert search.best_params_ == {"learning_rate": 0.1}


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", None, keras.losses.LogCosh()])
def test_losses_of_keras_compare_one_output_with_one_y(loss):
    with pytest.raises(ModelError, match=r"outputs of shape \(3,\).* needs \(1,\)"):
        regressor(loss=loss).fit(X, Y)


def test_several_columns_of_y_have_an_output_each():
    with pytest.raises(ModelError, match=r"outputs of shape \(3,\).* needs \(2,\)"):
        regressor(loss=quantile_loss).fit(X, np.c_[Y, Y])


def test_classes_have_an_output_each():
    with pytest.raises(ModelError, match=r"outputs of shape \(3,\).* needs \(1 or 2,"):
        MLPKerasClassifier(network, loss=quantile_loss).fit(X, Y > 1)
