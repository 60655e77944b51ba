"""Searches on a Dask cluster: the same scores, and nothing lost where a worker dies."""

import os
import signal
import uuid
from contextlib import suppress
from itertools import chain
from pathlib import Path

import joblib
import keras
import numpy as np
import pytest
import searches
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler
from workers import TELLS_THREADS, note_process, threads, wait_until

from skann import MLPKerasRegressor

# From 5000 planned steps on, such fits are compiled.
COMPILED = {
    "n_hidden": 1,
    "n_neurons": 8,
    "batch_size": 1,
    "epochs": 21,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def houses(california):
    X, y = california
    return StandardScaler().fit_transform(X), y


def scores(search, n_folds=2):
    return [search.cv_results_[f"split{i}_test_score"] for i in range(n_folds)]


@pytest.mark.skipif(not TELLS_THREADS, reason="needs /proc")
def test_a_worker_takes_its_share_of_the_cores(dask_client):
    for blas, tensorflow in dask_client.run(threads).values():
        assert blas == tensorflow == 1


def test_searches_repeat(dask_client, searches_alone):
    searches.assert_repeat("dask", searches_alone)


def test_a_build_function_may_be_a_lambda(dask_client, houses):
    X, y = houses
    model = MLPKerasRegressor(
        lambda input_shape: keras.Sequential(
            [keras.Input(input_shape), keras.layers.Dense(1)]
        ),
        epochs=3,
        random_state=0,
    )
    search = GridSearchCV(model, {"batch_size": [16, 64]}, cv=2, error_score="raise")
    alone = clone(search).fit(X, y)
    with joblib.parallel_config(backend="dask", scatter=[X, y]):
        search.fit(X, y)
    np.testing.assert_array_equal(scores(search), scores(alone))


class Deadly(keras.callbacks.Callback):
    """Notes every fit that begins, and kills the process of one of them."""

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)

    def on_train_begin(self, logs=None):
        (self.folder / f"fit-{uuid.uuid4()}").touch()
        note_process(self.folder)

    def on_epoch_end(self, epoch, logs=None):
        if (self.folder / "killed").exists():
            # So that there is something left to do for the worker that comes instead.
            wait_until(lambda: note_process(self.folder) > 2)
        with suppress(FileExistsError):
            (self.folder / "killed").touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)


# Dask would keep one copy of what was scattered, and joblib scatters the rows of each
# fold by itself, to one worker. All must be in every worker for one to die.
def test_a_worker_that_dies_costs_its_own_fits(dask_client, houses, tmp_path):
    X, y = houses
    folds = list(KFold(6).split(X))
    grid = {"learning_rate": [1e-4, 1e-3, 1e-2, 1e-1]}
    model = MLPKerasRegressor(**COMPILED)
    alone = GridSearchCV(model, grid, cv=folds).fit(X, y)
    model.set_params(callbacks=[Deadly(tmp_path)])
    search = GridSearchCV(model, grid, cv=folds, refit=False)
    dask_client.amm.stop()
    try:
        with joblib.parallel_config(backend="dask", scatter=[X, y, *chain(*folds)]):
            search.fit(X, y)
    finally:
        dask_client.amm.start()
    np.testing.assert_array_equal(scores(search, 6), scores(alone, 6))
    assert (tmp_path / "killed").exists()
    # The fit that was killed is one more; another may have ended unreported.
    fits = len(list(tmp_path.glob("fit-*")))
    assert 24 < fits <= 26
