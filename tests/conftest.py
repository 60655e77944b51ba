"""What several tests share: real data, and an environment that needs no screen."""

import os
from unittest.mock import patch

import numpy as np
import pytest
import searches
from distributed import Client, LocalCluster

from skann import datasets
from skann._runtime.start import load

os.environ["MPLBACKEND"] = "Agg"

load()  # Before the tests import Keras, for tensorflow to be quiet.

# They need what they compare with, and are run by themselves.
collect_ignore = ["benchmarks"]


@pytest.fixture(scope="session")
def california():
    """X (500, 8) and y (500,): random rows of California Housing, read-only."""
    X, y = datasets.load_california_housing(return_X_y=True)
    rows = np.random.default_rng(0).choice(len(X), 500, replace=False)
    X, y = X[rows], y[rows]
    X.setflags(write=False)
    y.setflags(write=False)
    return X, y


@pytest.fixture(scope="session")
def fashion_mnist():
    """Fashion-MNIST from this machine; nothing is downloaded for a test."""
    if datasets._find_fashion_mnist() is None:
        pytest.skip(datasets._not_found_message())
    return datasets.load_fashion_mnist()


@pytest.fixture(scope="module")
def searches_alone(california):
    """Searches of every kind, run by themselves."""
    return searches.alone(*california)


@pytest.fixture(scope="module")
def dask_client():
    """A client of a Dask cluster of two processes on this machine."""
    with (
        patch.dict(os.environ),  # Dask leaves its workers' OMP_NUM_THREADS=1 in it.
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
