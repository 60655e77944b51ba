"""Optuna around skann's estimators: its search, and a plain study."""

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna_integration import OptunaSearchCV
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor

pytestmark = [
    # Optuna calls its search experimental, and the search a module of Optuna's old.
    pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental"),
    pytest.mark.filterwarnings("ignore:`optuna.terminator` module:FutureWarning"),
]

SMALL = {"n_hidden": 1, "n_neurons": 8, "epochs": 20, "random_state": 0}
RATES = {"learning_rate": FloatDistribution(1e-4, 0.1, log=True)}


@pytest.fixture(autouse=True)
def quiet():
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(level)


@pytest.fixture
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def study_of(*rates):
    """Return a study that tries these learning rates first."""
    study = optuna.create_study(direction="maximize")
    for rate in rates:
        study.enqueue_trial({"learning_rate": rate})
    return study


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_search_of_a_classifier(n_jobs, iris):
    search = OptunaSearchCV(
        MLPKerasClassifier(**SMALL),
        {**RATES, "n_neurons": IntDistribution(4, 8)},
        n_trials=6,
        cv=3,
        n_jobs=n_jobs,
        random_state=0,
        # Threads draw the others in turns that are not always the same.
        study=study_of(0.03),
    ).fit(*iris)
    assert len(search.trials_) == 6
    assert np.all(np.isfinite([trial.value for trial in search.trials_]))
    assert search.best_params_.keys() == {"learning_rate", "n_neurons"}
    best = MLPKerasClassifier(**SMALL).set_params(**search.best_params_)
    assert search.best_score_ == cross_val_score(best, *iris, cv=3).mean() > 0.9
    np.testing.assert_array_equal(
        search.predict(iris[0]), best.fit(*iris).predict(iris[0])
    )


def test_search_of_a_pipeline():
    X, y = load_diabetes(return_X_y=True)
    model = make_pipeline(StandardScaler(), MLPKerasRegressor(**SMALL))
    rates = {f"mlpkerasregressor__{name}": d for name, d in RATES.items()}
    search = OptunaSearchCV(model, rates, n_trials=6, cv=3, random_state=0).fit(X, y)
    assert np.all(np.isfinite([trial.value for trial in search.trials_]))
    assert search.best_score_ > 0.3
    assert search.best_estimator_[-1].learning_rate in search.best_params_.values()


def test_pruned_trials_are_trained_an_epoch_at_a_time(iris):
    search = OptunaSearchCV(
        MLPKerasClassifier(**SMALL),
        RATES,
        n_trials=10,
        cv=3,
        enable_pruning=True,
        max_iter=20,
        random_state=0,
    ).fit(*iris)
    pruned = [t for t in search.trials_ if t.state.name == "PRUNED"]
    assert pruned
    assert all(1 <= len(t.intermediate_values) < 20 for t in pruned)
    # One epoch of `partial_fit` after the other is a fit of as many.
    best = MLPKerasClassifier(**SMALL).set_params(**search.best_params_)
    scores = cross_val_score(best, *iris, cv=3)
    assert search.best_score_ == pytest.approx(scores.mean(), abs=0.02)


# Of a trial without any score, OptunaSearchCV takes NumPy's mean all the same.
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Degrees of freedom <= 0:RuntimeWarning")
def test_a_trial_that_diverges_does_not_stop_the_search():
    X, y = load_diabetes(return_X_y=True)
    search = OptunaSearchCV(
        MLPKerasRegressor(optimizer="sgd", **SMALL),
        {"learning_rate": FloatDistribution(1e-3, 1e6, log=True)},
        study=study_of(1e6, 0.01),
        n_trials=2,
        cv=2,
        error_score=np.nan,
    ).fit(StandardScaler().fit_transform(X), y)
    assert [t.state.name for t in search.trials_] == ["FAIL", "COMPLETE"]
    assert search.best_params_ == {"learning_rate": 0.01}


def test_a_study_of_cross_val_score():
    X, y = load_diabetes(return_X_y=True)

    def objective(trial):
        network = MLPKerasRegressor(
            learning_rate=trial.suggest_float("learning_rate", 1e-3, 1e6, log=True),
            optimizer="sgd",
            **SMALL,
        )
        model = make_pipeline(StandardScaler(), network)
        return cross_val_score(model, X, y, cv=2).mean()

    study = study_of(1e6, 0.01)
    # cross_val_score raises a ValueError where every fold's fit fails.
    study.optimize(objective, n_trials=2, catch=ValueError)
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE"]
    assert np.isfinite(study.best_value)
