"""scikit-learn's callbacks: nested progress bars, scores of every epoch, own ones."""

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor

SMALL = {"n_hidden": 1, "n_neurons": 8, "random_state": 0}


class Recorder:
    """Keeps what it is told; stops the fit after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.told = []
        self.fitted = []

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self, estimator, context, *, X, y, metadata=None, fitted_estimator
    ):
        self.told.append(("end", context.task_name, context.task_id))
        self.fitted.append((fitted_estimator, X, y, metadata))
        return self.stop_after is not None and context.task_id + 1 == self.stop_after


def test_a_callback_hears_of_the_fit_and_of_each_epoch(california):
    recorder = Recorder()
    MLPKerasRegressor(**SMALL, epochs=2).set_callbacks(recorder).fit(*california)
    assert recorder.told == [
        ("setup", "fit", 2),
        ("begin", "fit", 0),
        ("begin", "epoch", 0),
        ("end", "epoch", 0),
        ("begin", "epoch", 1),
        ("end", "epoch", 1),
        ("end", "fit", 0),
        ("teardown", "fit", 2),
    ]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_an_epochs_estimator_is_a_fitted_one_of_its_own(california, engine):
    X, y = california
    recorder = Recorder()
    weight = np.linspace(1, 2, len(X))
    model = MLPKerasRegressor(**SMALL, epochs=4, engine=engine)
    model.set_callbacks(recorder).fit(X, y, weight)
    # After n epochs it is what a fit of n epochs gives, and it stays so.
    for n_epochs, (fitted, seen_X, seen_y, metadata) in enumerate(recorder.fitted[:4]):
        alone = clone(model).set_callbacks().set_params(epochs=n_epochs + 1)
        expected = alone.fit(X, y, weight).predict(X)
        np.testing.assert_array_equal(fitted.predict(X), expected)
        assert seen_X is X
        assert seen_y is y
        assert metadata["sample_weight"] is weight
    np.testing.assert_array_equal(recorder.fitted[4][0].predict(X), model.predict(X))


def test_an_epochs_estimator_has_nothing_of_an_earlier_fit(california):
    recorder = Recorder()
    model = MLPKerasRegressor(**SMALL, epochs=2).fit(*california)
    model.set_callbacks(recorder).fit(*california)
    for fitted, *_ in recorder.fitted[:2]:
        assert not hasattr(fitted, "loss_curve_")
        assert not hasattr(fitted, "n_iter_")


def test_a_callback_stops_a_fit(california):
    model = MLPKerasRegressor(**SMALL, epochs=50).set_callbacks(Recorder(stop_after=3))
    assert model.fit(*california).n_iter_ == 3


def test_callbacks_change_no_result(california):
    model = MLPKerasRegressor(**SMALL, epochs=3)
    alone = clone(model).fit(*california)
    watched = model.set_callbacks(Recorder()).fit(*california)
    assert watched.engine_ == "numpy"
    for value, expected in zip(
        watched.model_.get_weights(), alone.model_.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(value, expected)


def test_a_fit_that_fails_lets_its_callbacks_go(california):
    X, y = california
    recorder = Recorder()
    model = MLPKerasRegressor(**SMALL, epochs=2).set_callbacks(recorder)
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(X, y[1:])
    assert recorder.told[-1][0] == "teardown"
    assert not hasattr(model, "_callback_fit_ctx")
    recorder.told.clear()
    model.fit(X, y)
    assert ("end", "fit", 0) in recorder.told


def test_scoring_monitor_scores_every_epoch(california):
    X, y = california
    labels = np.where(y > np.median(y), "high", "low")
    monitor = ScoringMonitor(scoring="accuracy")
    model = make_pipeline(
        StandardScaler(), MLPKerasClassifier(**SMALL, epochs=5, learning_rate=0.01)
    )
    model[-1].set_callbacks(monitor)
    model.fit(X, labels)
    rows = monitor.get_logs().data
    scores = [row["accuracy"] for row in rows if row["task_name"] == "epoch"]
    assert len(scores) == 5
    assert scores[-1] == model.score(X, labels)
    assert scores[-1] > scores[0]


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_scoring_monitor_of_a_search(california, backend):
    X, y = california
    monitor = ScoringMonitor(scoring="r2")
    model = MLPKerasRegressor(**SMALL, epochs=3).set_callbacks(monitor)
    search = GridSearchCV(model, {"learning_rate": [0.001, 0.01]}, cv=2)
    n_jobs = 1 if backend == "sequential" else 2
    with parallel_config(backend, n_jobs=n_jobs):
        search.fit(StandardScaler().fit_transform(X), y)
    (log,) = monitor.get_logs(select="all")
    assert log.estimator_name == "GridSearchCV"
    epochs = [row for row in log.data if row["task_name"] == "epoch"]
    assert len(epochs) == (2 * 2 + 1) * 3
    assert np.isfinite([row["r2"] for row in epochs]).all()


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky"])
def test_progress_bars_are_nested_with_epochs_innermost(california, capsys, backend):
    X, y = california
    model = make_pipeline(StandardScaler(), MLPKerasRegressor(**SMALL, epochs=3))
    grid = {"mlpkerasregressor__learning_rate": [0.001, 0.01]}
    search = GridSearchCV(model, grid, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None))
    with parallel_config(backend, n_jobs=1 if backend == "sequential" else 2):
        search.fit(X, y)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    fits = [line for line in lines if "MLPKerasRegressor - fit" in line]
    # The bar of a fit counts its epochs, which are leaves and have none of their own.
    assert len(fits) == 2 * 2 + 1
    assert all("100%" in line for line in fits)
    # Search, candidate and fold, step of the Pipeline; a level less where it refits.
    assert sorted(len(line) - len(line.lstrip()) for line in fits) == [4, 6, 6, 6, 6]
    assert lines[0].startswith("GridSearchCV - fit")


def test_a_failing_candidate_leaves_progress_bars_well(california, capsys):
    X, y = california
    model = MLPKerasRegressor(**SMALL, epochs=2, optimizer="sgd")
    search = GridSearchCV(model, {"learning_rate": [0.001, 1e30]}, cv=2)
    search.set_callbacks(ProgressBar())
    with (
        pytest.warns(FitFailedWarning, match="DivergenceError"),
        pytest.warns(UserWarning, match="non-finite"),
    ):
        search.fit(StandardScaler().fit_transform(X), y)
    assert np.isnan(search.cv_results_["mean_test_score"][1])
    assert "GridSearchCV - fit" in capsys.readouterr().out
