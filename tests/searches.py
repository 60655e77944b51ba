"""Searches of every kind, which must repeat wherever they are run."""

import joblib
import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
)
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor

SMALL = {
    "n_hidden": 1,
    "n_neurons": 8,
    "learning_rate": 0.02,
    "epochs": 20,
    "random_state": 1,
}

SEARCHES = {
    "grid": lambda model: GridSearchCV(
        model, {"n_neurons": [4, 8], "learning_rate": [1e-5, 0.02]}, cv=3
    ),
    "random": lambda model: RandomizedSearchCV(
        model,
        {"n_neurons": [4, 8], "learning_rate": stats.loguniform(1e-5, 0.1)},
        n_iter=4,
        cv=3,
        random_state=0,
    ),
    "halving": lambda model: HalvingRandomSearchCV(
        model,
        {"n_neurons": [4, 8], "learning_rate": stats.loguniform(1e-5, 0.1)},
        resource="epochs",
        n_candidates=4,
        min_resources=4,
        max_resources=16,
        factor=2,
        cv=3,
        random_state=0,
    ),
    # Of 2000 planned steps, from which on fits with metrics are compiled.
    "compiled": lambda model: GridSearchCV(
        clone(model).set_params(batch_size=1, metrics=["mae"]),
        {"learning_rate": [1e-5, 0.02]},
        cv=3,
    ),
}


def alone(X, y):
    """Return searches run by themselves, their rows, and a score to beat."""
    regression = (
        MLPKerasRegressor(**SMALL),
        StandardScaler().fit_transform(X[:200]),
        y[:200],
        0.5,
    )
    # Sorted by class, as the data is shipped: folds must be stratified.
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    classification = MLPKerasClassifier(**SMALL), X, y, 0.85
    return [
        (kind, SEARCHES[kind](model).fit(X, y), X, y, floor)
        for kind, (model, X, y, floor) in [
            ("grid", regression),
            ("random", classification),
            ("halving", regression),
            ("halving", classification),
            ("compiled", regression),
        ]
    ]


def assert_repeat(backend, alone):
    """Run searches again by one of joblib's backends."""
    for kind, expected, X, y, floor in alone:
        with joblib.parallel_config(backend=backend):
            search = clone(expected).set_params(n_jobs=2).fit(X, y)
        for name in (f"split{i}_test_score" for i in range(3)):
            scores = search.cv_results_[name]
            np.testing.assert_array_equal(scores, expected.cv_results_[name], kind)
        np.testing.assert_array_equal(search.predict(X), expected.predict(X), kind)
        assert search.best_params_ == expected.best_params_
        assert search.best_score_ > floor
        # Fits of few steps are in full precision.
        dtype = search.best_estimator_.model_.layers[0].dtype
        assert dtype == ("float32" if kind == "compiled" else "float64")
        assert search.best_estimator_.n_iter_ == (16 if kind == "halving" else 20)
