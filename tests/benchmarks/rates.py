"""What ``learning_rate="auto"`` is worth: its scores beside those of fixed rates.

Run as ``python tests/benchmarks/rates.py DIRECTORY`` with the tables of `defaults.py`.
Prints, for each table and optimizer, the test score (R2 or accuracy, means over seeds)
with each of some fixed rates and with "auto", and how many of the fits diverged.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from defaults import tables
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann.exceptions import DivergenceError, DivergenceWarning

SEEDS = (0, 1, 2)
MOST_ROWS = 4000
RATES = {
    "adam": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, "auto"),
    "sgd": (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, "auto"),
}


def score(cls, data, seed, **params):
    """Return a test score and the rate that training began with, or None twice."""
    X_train, X_test, y_train, y_test = data
    network = cls(epochs=40, random_state=seed, **params)
    model = make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DivergenceWarning)
        try:
            model.fit(X_train, y_train)
        except (DivergenceError, DivergenceWarning):
            return None, None
    rate = getattr(network, "learning_rate_", network.learning_rate)
    return model.score(X_test, y_test), rate


def show(results):
    """Return the mean score of fits, how many diverged, and the rates of "auto"."""
    scores = [result for result, _ in results if result is not None]
    text = f"{np.mean(scores):.3f}" if scores else "-"
    diverged = len(results) - len(scores)
    return text + (f" ({diverged} diverged)" if diverged else "")


def main(directory):
    """Print a table for each optimizer."""
    for optimizer, rates in RATES.items():
        print(f"\n### {optimizer}\n")
        print("| table | " + " | ".join(map(str, rates)) + " | rates of auto |")
        print("|---" * (len(rates) + 2) + "|")
        for name, cls, X, y in tables(Path(directory)):
            rows = min(MOST_ROWS, int(0.8 * len(X)))
            data = train_test_split(X, y, random_state=0, train_size=rows)
            found = [
                [
                    score(cls, data, s, optimizer=optimizer, learning_rate=r)
                    for s in SEEDS
                ]
                for r in rates
            ]
            took = ", ".join(f"{rate:.2g}" for _, rate in found[-1] if rate)
            print(
                f"| {name} | " + " | ".join(map(show, found)) + f" | {took} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1])
