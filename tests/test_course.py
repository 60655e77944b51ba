"""The code of a course, line by line, with the name of the estimator changed.

A. Géron, Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow, 2nd ed.,
chapter 10: "Fine-Tuning Neural Network Hyperparameters".
"""

import keras
import numpy as np
import pytest
from scipy.stats import reciprocal
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing


@pytest.fixture(scope="module")
def split():
    housing = load_california_housing()
    X_train_full, X_test, y_train_full, y_test = train_test_split(
        housing.data[:4000], housing.target[:4000], random_state=42
    )
    X_train, X_valid, y_train, y_valid = train_test_split(
        X_train_full, y_train_full, random_state=42
    )
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    return X_train, *map(scaler.transform, (X_valid, X_test)), y_train, y_valid, y_test


def build_model(n_hidden=1, n_neurons=30, learning_rate=3e-3, input_shape=[8]):  # noqa: B006
    model = keras.models.Sequential()
    model.add(keras.layers.InputLayer(shape=input_shape))
    for layer in range(n_hidden):  # noqa: B007
        model.add(keras.layers.Dense(n_neurons, activation="relu"))
    model.add(keras.layers.Dense(1))
    optimizer = keras.optimizers.SGD(learning_rate=learning_rate)
    model.compile(loss="mse", optimizer=optimizer)
    return model


def test_the_wrapped_model(split):
    X_train, X_valid, X_test, y_train, y_valid, y_test = split

    keras_reg = MLPKerasRegressor(build_model)
    keras_reg.fit(
        X_train,
        y_train,
        epochs=100,
        validation_data=(X_valid, y_valid),
        callbacks=[keras.callbacks.EarlyStopping(patience=10)],
    )
    mse_test = keras_reg.score(X_test, y_test)
    X_new = X_test[:3]
    y_pred = keras_reg.predict(X_new)

    assert [layer.units for layer in keras_reg.model_.layers] == [30, 1]
    assert float(keras_reg.model_.optimizer.learning_rate) == pytest.approx(3e-3)
    assert mse_test > 0.6  # R2: scikit-learn's score, where higher is better.
    assert y_pred.shape == (3,)
    mse = mean_squared_error(y_test, keras_reg.predict(X_test))
    assert keras_reg.model_.evaluate(X_test, y_test, verbose=0) == pytest.approx(
        mse, rel=1e-3
    )
    assert keras_reg.history_["val_loss"][-1] < 2 * mse


def test_the_search(split):
    X_train, X_valid, X_test, y_train, y_valid, y_test = split
    keras_reg = MLPKerasRegressor(build_model, random_state=42)

    param_distribs = {
        "n_hidden": [0, 1, 2, 3],
        "n_neurons": np.arange(1, 100),
        "learning_rate": reciprocal(3e-4, 3e-2),
    }

    rnd_search_cv = RandomizedSearchCV(
        keras_reg, param_distribs, n_iter=3, cv=3, random_state=42
    )
    rnd_search_cv.fit(
        X_train,
        y_train,
        epochs=20,
        validation_data=(X_valid, y_valid),
        callbacks=[keras.callbacks.EarlyStopping(patience=10)],
    )

    best = rnd_search_cv.best_params_
    assert rnd_search_cv.best_score_ > 0.5
    model = rnd_search_cv.best_estimator_.model_
    assert [layer.units for layer in model.layers] == [
        *[best["n_neurons"]] * best["n_hidden"],
        1,
    ]
    assert float(model.optimizer.learning_rate) == pytest.approx(best["learning_rate"])
    mse = mean_squared_error(y_test, rnd_search_cv.predict(X_test))
    assert mse < 0.5
    assert model.evaluate(X_test, y_test, verbose=0) == pytest.approx(mse, rel=1e-3)
