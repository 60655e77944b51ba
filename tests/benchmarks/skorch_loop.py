"""An epoch of skorch on the network 30; `speed.py` runs it with its own rows.

In a process without tensorflow, for some builds of torch do not get along with it.
"""

import statistics
import sys
import time

import numpy as np
import torch
from skorch import NeuralNetRegressor


def main(path):
    """Print the median seconds of an epoch over the rows of an ``.npz`` file."""
    with np.load(path) as file:
        X, y = file["X"], file["y"].reshape(-1, 1)
    net = NeuralNetRegressor(
        torch.nn.Sequential(
            torch.nn.Linear(X.shape[1], 30), torch.nn.ReLU(), torch.nn.Linear(30, 1)
        ),
        optimizer=torch.optim.Adam,
        batch_size=32,
        train_split=None,
        verbose=0,
        callbacks__print_log=None,
        iterator_train__shuffle=True,
    ).initialize()
    net.fit_loop(X, y, epochs=1)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        net.fit_loop(X, y, epochs=1)
        times.append(time.perf_counter() - start)
    print(statistics.median(times))


if __name__ == "__main__":
    main(sys.argv[1])
