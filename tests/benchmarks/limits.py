"""What a fit costs beside its arithmetic: set-up, memory, and how both grow."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from speed import california, median_time, skann_epoch

import skann._training.work as work
from skann import MLPKerasRegressor
from skann._training.graph.trainer import Trainer


def resident(field="VmRSS"):
    """Return the memory of this process in MiB (Linux).

    "RssAnon" is what it holds itself, without pages of files that the system may drop.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":") for line in lines)[field].split()[0]) / 1024


def in_a_process(function, *arguments, module="limits", **environment):
    """Call a function of a file here in a fresh process and return what it returns."""
    call = f"""
import json, {module}
if __name__ == "__main__":
    print(json.dumps({module}.{function}(*{arguments!r})))
"""
    env = {k: v for k, v in os.environ.items() if k != "TF_XLA_FLAGS"}
    run = subprocess.run(
        [sys.executable, "-c", call],
        cwd=Path(__file__).parent,
        env=env | environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(run.stdout)


# -- set-up -------------------------------------------------------------------------


def setup_seconds():
    """Return what a first and a second fit take over their training time."""
    X, y = california()
    first = _beyond_training(X[:9000], y[:9000], random_state=0, learning_rate=1e-3)
    rows = slice(500, 9777)
    second = _beyond_training(X[rows], y[rows], random_state=1, learning_rate=3e-3)
    return first, second


def _beyond_training(X, y, **params):
    model = MLPKerasRegressor(
        hidden_layer_sizes=(45, 35),
        early_stopping=True,
        patience=1000,
        epochs=20,  # Enough steps that they are compiled.
        **params,
    )
    start = time.perf_counter()
    model.fit(X, y)
    whole = time.perf_counter() - start
    model.set_params(warm_start=True)
    twenty = median_time(lambda: model.fit(X, y, epochs=20))
    forty = median_time(lambda: model.fit(X, y, epochs=40))
    return whole - (forty - twenty)


def setup():
    """Time set-up, with and without the disk cache."""
    with tempfile.TemporaryDirectory() as place:
        cold = [in_a_process("setup_seconds", SKANN_CACHE_DIR="off") for _ in range(3)]
        in_a_process("setup_seconds", SKANN_CACHE_DIR=place)
        warm = [in_a_process("setup_seconds", SKANN_CACHE_DIR=place) for _ in range(3)]
    first, second = np.median(cold, axis=0)
    cached, _ = np.median(warm, axis=0)
    print("\n### Set-up: a fit over its training time\n")
    print("| fit | seconds | at most |\n|---|---|---|")
    print(f"| first of an architecture, nothing cached | {first:.2f} | 1.5 |")
    print(f"| second: other rows, seed and rate | {second:.3f} | 0.1 |")
    print(
        f"| first in a new process, disk cache warm | {cached:.2f} | 0.6 |", flush=True
    )


# -- memory -------------------------------------------------------------------------


def growth_of_fits():
    """Return how much memory grows by 300 fits of one architecture, in MiB."""
    X, y = california()
    model = MLPKerasRegressor(n_neurons=50, patience=3, epochs=60, early_stopping=True)
    model.set_params(random_state=0).fit(X[:3000], y[:3000])
    before = resident()
    for seed in range(1, 301):
        rows = slice(seed, 3000 + seed)
        model.set_params(random_state=seed).fit(X[rows], y[rows])
    return resident() - before


def growth_of_search():
    """Return memory growth (MiB) and set-up time (s) of 100 candidates, 3 folds."""
    X, y = california()
    X, y = X[:4500], y[:4500]
    rng = np.random.default_rng(0)
    before, spent = resident(), 0.0
    make = Trainer.__init__

    def timed(*args, **kwargs):
        nonlocal spent
        start = time.perf_counter()
        make(*args, **kwargs)
        spent += time.perf_counter() - start

    Trainer.__init__ = timed
    for _ in range(100):
        model = MLPKerasRegressor(
            n_hidden=int(rng.integers(0, 4)),
            n_neurons=int(rng.integers(1, 100)),
            learning_rate=float(10 ** rng.uniform(-3.5, -1.5)),
            early_stopping=True,
            patience=3,
            epochs=60,
        )
        for fold in range(3):
            kept = np.arange(len(X)) % 3 != fold
            model.set_params(random_state=fold).fit(X[kept], y[kept])
    return resident() - before, spent


def memory():
    """Measure how memory grows over many fits."""
    fits = in_a_process("growth_of_fits")
    search, spent = in_a_process("growth_of_search", SKANN_CACHE_DIR="off")
    print("\n### Memory of a process\n\n| work | measured | at most |\n|---|---|---|")
    print(f"| 300 fits of one architecture | {fits:.0f} MiB | 50 MiB |")
    print(f"| 100 candidates, 3 folds | {search:.0f} MiB | 400 MiB |")
    print(f"| their tracing and compiling | {spent:.0f} s | 60 s |", flush=True)


# -- memory-mapped rows -------------------------------------------------------------


def mapped_epoch(path, n_rows):
    """Return seconds of an epoch over mapped rows, and peak memory over the import."""
    imported = resident("RssAnon")
    X = np.load(path, mmap_mode="r")[:n_rows]
    y = np.empty(n_rows, dtype=np.float32)
    for start in range(0, n_rows, 100_000):
        y[start : start + 100_000] = X[start : start + 100_000, :3].sum(axis=1)
    model = MLPKerasRegressor(
        batch_size=256,
        early_stopping=False,
        dtype="float32",
        warm_start=True,
        random_state=0,
    )
    work.STEPS_WORTH_COMPILING = 0
    model.fit(X[:10_000], y[:10_000], epochs=1)
    peak, done = 0.0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, resident("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    model.fit(X, y, epochs=1)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return seconds, peak - imported


def mapped():
    """Measure an epoch over 5,000,000 x 20 memory-mapped float32 rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        X = np.lib.format.open_memmap(path, "w+", np.float32, (5_000_000, 20))
        rng = np.random.default_rng(0)
        for start in range(0, len(X), 100_000):
            X[start : start + 100_000] = rng.normal(size=(100_000, 20))
        X.flush()
        few, _ = in_a_process("mapped_epoch", str(path), 50_000)
        many, peak = in_a_process("mapped_epoch", str(path), 5_000_000)
    a_row = (many / 5_000_000) / (few / 50_000)
    print("\n### 5,000,000 x 20 memory-mapped rows, one epoch, batch 256\n")
    print("| measured | value | at most |\n|---|---|---|")
    print(f"| time of the epoch | {many:.1f} s | |")
    print(f"| time a row, to that of 50,000 rows | {a_row:.2f} | 1.5 |")
    print(f"| peak memory over the import | {peak:.0f} MiB | 1536 MiB |", flush=True)


# -- growth -------------------------------------------------------------------------


def growth():
    """Measure how an epoch's cost grows with rows, width, depth and batch size."""
    X, y = california()

    def epoch(rows=11_610, sizes=(30,), batch_size=32):
        many = np.arange(rows) % len(X)
        network = {"hidden_layer_sizes": sizes, "normalize_y": False}
        return 1000 * skann_epoch(
            MLPKerasRegressor, X[many], y[many], batch_size=batch_size, **network
        )

    sweeps = {
        "rows": [(n, epoch(n)) for n in (1000, 3000, 10_000, 30_000, 100_000)],
        "width of 2 layers": [
            (n, epoch(sizes=(n, n))) for n in (10, 30, 60, 100, 200, 400, 800)
        ],
        "layers of 60": [(n, epoch(sizes=(60,) * n)) for n in (1, 2, 3, 4, 6, 8)],
        "batch size": [(n, epoch(batch_size=n)) for n in (8, 16, 32, 64, 128, 512)],
    }
    for name, points in sweeps.items():
        print(f"\n| {name} | ms an epoch |\n|---|---|")
        for size, milliseconds in points:
            print(f"| {size} | {milliseconds:.2f} |", flush=True)
    _draw(sweeps)


def _draw(sweeps):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 4, figsize=(12, 3), layout="constrained", sharey=True
    )
    for ax, (name, points) in zip(axes, sweeps.items(), strict=True):
        ax.plot(*zip(*points, strict=True), marker="o")
        ax.set(xlabel=name, yscale="log")
        sizes = [size for size, _ in points]
        if sizes[-1] > 10:
            ax.set_xscale("log")
        ax.set_xticks(sizes, [f"{n // 1000}k" if n >= 1000 else n for n in sizes])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("ms an epoch")
    path = Path(__file__).parents[2] / "docs" / "images" / "growth.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=120)
