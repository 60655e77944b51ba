"""What it costs to import, to serve, to go on and to search, beside scikit-learn."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speed import table

from skann import MLPKerasRegressor

_RUNS = 7

# Processor time and the most memory of a process itself, after what it did.
_TELL = """
import os
times = os.times()
status = open("/proc/self/status").read()
print(times.user + times.system, status.split("VmHWM:")[1].split()[0])
"""


def light():
    """Compare with scikit-learn's MLP in one run; medians of fresh processes."""
    with tempfile.TemporaryDirectory() as directory:
        rows = np.random.default_rng(0).normal(size=(500, 8))
        paths = {}
        for name, mlp in _networks().items():
            paths[name] = str(Path(directory, name))
            pipe = make_pipeline(StandardScaler(), mlp).fit(rows, rows[:, 0])
            joblib.dump(pipe, paths[name])
        serve = "import joblib, numpy as np; p = joblib.load({!r}); p.predict({})"
        row = "np.zeros((1, 8))"
        what = {
            "import": {
                "skann": "import skann",
                "scikit-learn": "from sklearn.neural_network import MLPRegressor",
            },
            "load a pipeline and predict a row": {
                name: serve.format(path, row) for name, path in paths.items()
            },
        }
        print("\n### Light\n\n| work | skann | scikit-learn MLP | times |")
        print("|---|---|---|---|")
        for work, codes in what.items():
            _compare(work, codes)
    going_on()
    searches()


def _networks():
    sizes = (100, 100)
    return {
        "skann": MLPKerasRegressor(epochs=5, random_state=0),
        "scikit-learn": MLPRegressor(
            hidden_layer_sizes=sizes, batch_size=32, max_iter=5, random_state=0
        ),
    }


def _compare(work, codes):
    seconds, memory = ({name: [] for name in codes} for _ in range(2))
    for _ in range(_RUNS):  # In turn, for the machine's moods.
        for name, code in codes.items():
            run = [sys.executable, "-W", "ignore", "-c", code + _TELL]
            told = subprocess.run(run, check=True, capture_output=True, text=True)
            spent, most = told.stdout.split()
            seconds[name].append(float(spent))
            memory[name].append(int(most) / 1024)
    for unit, found in (("s", seconds), ("MiB", memory)):
        ours, theirs = (statistics.median(found[name]) for name in codes)
        print(
            f"| {work} | {ours:.2f} {unit} | {theirs:.2f} {unit} | "
            f"{ours / theirs:.2f} |",
            flush=True,
        )


def going_on():
    """Compare ``partial_fit`` of 32 rows."""
    rows = np.random.default_rng(0).normal(size=(32, 8))
    seconds = {}
    for name, mlp in _networks().items():
        mlp.partial_fit(rows, rows[:, 0])
        seconds[name] = _median(lambda mlp=mlp: mlp.partial_fit(rows, rows[:, 0]))
    peers = {"scikit-learn MLP": seconds["scikit-learn"]}
    table("Going on", [("partial_fit of 32 rows", seconds["skann"], peers)])


def _median(function, n=50):
    times = []
    for _ in range(n):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def searches():
    """Compare a search of small fits, in two processes that are just started."""
    code = """
import sys
sys.path.insert(0, {here!r})
if __name__ == "__main__":
    import light
    print(light.search_seconds({name!r}))
"""
    seconds = {"skann": [], "scikit-learn": []}
    for _ in range(5):
        for name, found in seconds.items():
            run = [sys.executable, "-W", "ignore", "-c"]
            run.append(code.format(here=str(Path(__file__).parent), name=name))
            done = subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True)
            found.append(float(done.stdout.split()[-1]))
    ours, theirs = map(statistics.median, seconds.values())
    peers = {"scikit-learn MLP": theirs}
    work = "10 candidates, 3 folds, 200 rows, n_jobs=2 just started"
    table("A search of small fits", [(work, ours, peers)])


def search_seconds(name):
    """Return how long a search takes whose processes are started for it."""
    os.environ["PYTHONWARNINGS"] = "ignore"  # Of the workers, as of this process.
    rows = np.random.default_rng(0).normal(size=(200, 8))
    mlp = _networks()[name]
    parameter = "max_iter" if name == "scikit-learn" else "epochs"
    mlp.set_params(**{parameter: 20})
    rate = "learning_rate_init" if name == "scikit-learn" else "learning_rate"
    grid = {rate: list(np.geomspace(1e-4, 1e-2, 10))}
    search = GridSearchCV(mlp, grid, cv=3, n_jobs=2)
    began = time.perf_counter()
    search.fit(rows, rows[:, 0])
    return time.perf_counter() - began
