"""Which defaults do best: test scores on tables of the UCI and PMLB collections.

Run as ``python tests/benchmarks/defaults.py DIRECTORY``, where the directory holds the
tables as ``NAME.csv.gz`` (no header, target last) or ``NAME.tsv.gz`` (column "target").
Prints, for each setting, the mean over the tables of R2 or accuracy, and the time.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann.datasets import load_california_housing

REGRESSION = ("elevators", "bike", "pol", "sml", "cpu_act", "house_16H")
CLASSIFICATION = ("adult", "magic", "pendigits", "satimage", "churn")
MOST_ROWS = 10_000

BASE = {
    "n_hidden": 2,
    "n_neurons": 100,
    "learning_rate": 3e-3,
    "batch_size": 32,
    "epochs": 100,
}
SETTINGS = [
    {},
    {"n_hidden": 1},
    {"n_hidden": 3},
    {"n_neurons": 50},
    {"n_neurons": 200},
    {"learning_rate": 1e-3},
    {"learning_rate": 1e-2},
    {"batch_size": 64},
    {"batch_size": 128},
    {"patience": 5},
    {"patience": 20},
]


def tables(directory):
    """Yield (name, estimator class, X, y) of each table found."""
    yield "california", MLPKerasRegressor, *load_california_housing(return_X_y=True)
    for names, cls in (
        (REGRESSION, MLPKerasRegressor),
        (CLASSIFICATION, MLPKerasClassifier),
    ):
        for name in names:
            frame = read(directory, name)
            if frame is not None:
                yield name, cls, *frame


def read(directory, name):
    """Return X and y of one table, or None where it is not there."""
    if (path := directory / f"{name}.csv.gz").exists():
        values = pd.read_csv(path, header=None).to_numpy(float)
        return values[:, :-1], values[:, -1]
    if (path := directory / f"{name}.tsv.gz").exists():
        frame = pd.read_csv(path, sep="\t")
        return frame.drop(columns="target").to_numpy(float), frame["target"].to_numpy()
    return None


def main(directory):
    """Print a table of settings by data sets."""
    found = list(tables(Path(directory)))
    print("setting | " + " | ".join(name for name, *_ in found) + " | mean | seconds")
    for setting in SETTINGS:
        scores, start = [], time.perf_counter()
        for _, cls, X, y in found:
            X_train, X_test, y_train, y_test = train_test_split(
                X, y, random_state=0, train_size=min(MOST_ROWS, int(0.8 * len(X)))
            )
            estimator = cls(**{**BASE, **setting}, random_state=0)
            model = make_pipeline(StandardScaler(), estimator).fit(X_train, y_train)
            scores.append(model.score(X_test, y_test))
        row = " | ".join(f"{s:.4f}" for s in scores)
        seconds = time.perf_counter() - start
        print(f"{setting} | {row} | {np.mean(scores):.4f} | {seconds:.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
