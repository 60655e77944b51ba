"""What a process tells of itself: for tests, their scripts, and the workers of both."""

import os
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from skann import MLPKerasRegressor

# Where Linux tells what threads a process has.
TELLS_THREADS = Path("/proc/self/task").is_dir()


def resident():
    """Return the memory of this process in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":") for line in lines)["VmRSS"].split()[0]) / 1024


def note_process(folder):
    """Leave a file for this process in a folder, and return how many have."""
    (Path(folder) / f"process-{os.getpid()}").touch()
    return len(list(Path(folder).glob("process-*")))


def wait_until(is_so, seconds=300):
    """Wait for another process; raise TimeoutError where it takes too long."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"nothing came of {seconds} seconds' waiting")
        time.sleep(0.01)


def threads():
    """Return the threads of BLAS, and those of tensorflow's products (Linux)."""
    X = np.random.default_rng(0).normal(size=(250, 5))
    # tensorflow starts its threads with the first compiled fit: from 5000 steps on.
    MLPKerasRegressor(n_hidden=1, n_neurons=8, batch_size=1, epochs=21).fit(X, X[:, 0])
    names = [
        path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")
    ]
    blas = [p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"]
    return max(blas), names.count("tf_XLAEigen")
