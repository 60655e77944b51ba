"""The best epoch is the one whose weights are kept."""

import keras
import pytest
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X)
X, y, X_val, y_val = X[:200], y[:200], X[200:260], y[200:260]

WAYS = {
    "late": {},
    "dense": {"callbacks": [keras.callbacks.Callback()]},
    "graph": {"dropout": 1e-6},
    "by Keras": {"engine": "keras"},
}


def regressor(**params):
    small = {"n_hidden": 1, "n_neurons": 8, "epochs": 30, "random_state": 0}
    return MLPKerasRegressor(**{**small, "patience": 5, **params})


def loss_of(model):
    return model.model_.evaluate(X_val, y_val, verbose=0)


def reported(model):
    return model.history_["val_loss"][model.best_epoch_]


@pytest.mark.parametrize("way", WAYS)
def test_a_least_change_decides_which_epoch_is_the_best(way):
    model = regressor(early_stopping=True, min_delta=300, **WAYS[way])
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert reported(model) > min(model.history_["val_loss"])
    assert loss_of(model) == pytest.approx(reported(model), rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_after_a_warm_start_it_is_one_of_the_last_fit(way):
    model = regressor(early_stopping=True, warm_start=True, epochs=4, **WAYS[way])
    model.fit(X, y, X_val=X_val, y_val=y_val)
    model.set_params(learning_rate=0.3)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.best_epoch_ >= 4
    assert loss_of(model) == pytest.approx(reported(model), rel=1e-5)


def test_it_is_the_one_that_a_callback_of_the_users_has_restored():
    stopping = keras.callbacks.EarlyStopping(
        min_delta=300, patience=5, restore_best_weights=True
    )
    model = regressor(callbacks=[stopping]).fit(X, y, X_val=X_val, y_val=y_val)
    assert reported(model) > min(model.history_["val_loss"])
    assert loss_of(model) == pytest.approx(reported(model), rel=1e-5)


def test_where_nothing_is_restored_it_is_the_least():
    model = regressor(early_stopping=True, min_delta=300, restore_best_weights=False)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert reported(model) == min(model.history_["val_loss"])
