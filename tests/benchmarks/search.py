"""How fast a search is: skann and its peers, one process and several.

The search is of 10 random candidates by 3 folds of California Housing: 0 to 3 hidden
layers of 1 to 99 units, learning rates from 3e-4 to 3e-2, batches of 32, at most 100
epochs with a patience of 10. Every way runs in a process of its own, first as it is
just started (the disk cache is warm), then again three times.
"""

import statistics
import tempfile
import threading
import time
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext

import joblib
from limits import in_a_process
from scipy.stats import loguniform, randint
from sklearn.model_selection import GridSearchCV, ParameterSampler
from speed import california

SPACE = {
    "n_hidden": randint(0, 4),
    "n_neurons": randint(1, 100),
    "learning_rate": loguniform(3e-4, 3e-2),
}
FEW_CANDIDATES, FEW_EPOCHS = 3, 10

# As docs/cluster.md advises: without them Dask's workers train a quarter slower.
DASK_SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**28,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**28,
}


def candidates(number=10):
    """Return the candidates, each as a grid of one point."""
    return [
        {name: [value] for name, value in point.items()}
        for point in ParameterSampler(SPACE, number, random_state=42)
    ]


def fit_search(estimator, grid, n_jobs=1):
    """Return the seconds of a search, and its scores."""
    X, y = california()
    search = GridSearchCV(estimator, grid, cv=3, n_jobs=n_jobs, refit=False)
    start = time.perf_counter()
    search.fit(X, y)
    seconds = time.perf_counter() - start
    return seconds, search.cv_results_["mean_test_score"].tolist()


def ours(epochs=100):
    """Return skann's estimator."""
    from skann import MLPKerasRegressor

    return MLPKerasRegressor(
        epochs=epochs, patience=10, early_stopping=True, random_state=42
    )


def skann(way, repeats=4):
    """Return the seconds of each of several searches in this process, and scores."""
    runs = []
    with _backend(way) as n_jobs:
        for _ in range(repeats):
            runs.append(fit_search(ours(), candidates(), n_jobs))
    assert all(scores == runs[0][1] for _, scores in runs)
    return [seconds for seconds, _ in runs], runs[0][1]


@contextmanager
def _backend(way):
    """Run joblib in this way, and yield the number of jobs."""
    if way == "dask":
        import dask
        from distributed import Client, LocalCluster

        X, y = california()
        dask.config.set(DASK_SETTINGS)
        with (
            LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as cluster,
            Client(cluster),
            joblib.parallel_config("dask", scatter=[X, y]),
        ):
            yield -1
        return
    backend = nullcontext() if way == "one job" else joblib.parallel_config(way)
    with backend:
        yield 1 if way == "one job" else 2


def sklearn():
    """Return the seconds of the same search of scikit-learn's MLP."""
    from sklearn.neural_network import MLPRegressor

    warnings.simplefilter("ignore")  # Not converged, and loss that is not finite.
    estimator = MLPRegressor(
        batch_size=32,
        max_iter=100,
        early_stopping=True,
        n_iter_no_change=10,
        tol=0.0,
        random_state=42,
    )
    grid = [
        {
            "hidden_layer_sizes": [tuple(point["n_neurons"] * point["n_hidden"][0])],
            "learning_rate_init": point["learning_rate"],
        }
        for point in candidates()
    ]
    return fit_search(estimator, grid)[0]


def beside_scikeras(number, epochs):
    """Return the seconds of a search of so many candidates by skann and by scikeras."""
    import keras
    from scikeras.wrappers import KerasRegressor

    def build(n_hidden, n_neurons):
        layers = [keras.layers.Dense(n_neurons, "relu") for _ in range(n_hidden)]
        return keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dense(1)])

    theirs = KerasRegressor(
        build,
        loss="mse",
        optimizer="adam",
        batch_size=32,
        epochs=epochs,
        validation_split=0.1,
        callbacks=keras.callbacks.EarlyStopping,
        callbacks__patience=10,
        callbacks__restore_best_weights=True,
        random_state=42,
        verbose=0,
        n_hidden=1,
        n_neurons=30,
        optimizer__learning_rate=0.001,
    )
    routed = {"learning_rate": "optimizer__learning_rate"}
    # Of the same sampler: the first so many of all.
    grid = candidates()[:number]
    fit_search(ours(epochs), grid)
    seconds = statistics.median(fit_search(ours(epochs), grid)[0] for _ in range(3))
    grid = [{routed.get(k, k): v for k, v in point.items()} for point in grid]
    return seconds, fit_search(theirs, grid)[0]


# -- where the time goes ------------------------------------------------------------


def parts():
    """Return where the time of a first and of a later search goes, in seconds."""
    from skann._network.network import Network
    from skann._runtime.start import with_keras
    from skann._training.graph import trainer
    from skann._training.graph.program import Program
    from skann._training.numpy import recognised
    from skann._training.numpy import trainer as numpy_trainer

    parts, spent = with_keras(), Counter()
    watched = [
        (parts, "build_model", "building networks"),
        (parts, "prepare", "creating the optimizer's variables"),
        (trainer.Trainer, "__init__", "tracing, compiling, loading"),
        (Program, "loop", "compiled loops"),
        (Program, "step", "last, short batches"),
        (recognised.Evaluation, "logs", "validation"),
        (numpy_trainer.DenseTrainer, "epoch", "steps in NumPy"),
        (Network, "outputs", "predictions for the scores"),
    ]
    inner = Counter()
    for owner, name, what in watched:
        setattr(owner, name, _timed(getattr(owner, name), what, spent, inner))
    told = []
    for _ in range(2):
        spent.clear()
        seconds, _ = fit_search(ours(), candidates())
        rest = seconds - sum(spent.values())
        told.append({**spent, "everything else": rest, "in all": seconds})
    return told


def _timed(function, what, spent, inner):
    """Return a function whose time goes to `what`, less that of others it calls."""

    def run(*args, **kwargs):
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)  # It runs beside what is timed.
        outside, inner["seconds"] = inner["seconds"], 0.0
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds = time.perf_counter() - start
            spent[what] += seconds - inner["seconds"]
            inner["seconds"] = outside + seconds

    return run


# -- tables -------------------------------------------------------------------------


def search():
    """Print how long the search takes, by every way and by the peers."""
    with tempfile.TemporaryDirectory() as place:
        cache = {"SKANN_CACHE_DIR": place}
        in_a_process("skann", "one job", 1, module="search", **cache)
        ways = ("one job", "threading", "loky", "dask")
        runs = {w: in_a_process("skann", w, module="search", **cache) for w in ways}
        # Their threads of tensorflow's own, which two fits side by side do not need.
        single = {**cache, "TF_NUM_INTRAOP_THREADS": "1"}
        for way in ways[:2]:
            told = in_a_process("skann", way, module="search", **single)
            runs[f"{way}, tensorflow with one thread"] = told
        few = (FEW_CANDIDATES, FEW_EPOCHS)
        few_ours, few_theirs = in_a_process(
            "beside_scikeras", *few, module="search", **cache
        )
        first, later = in_a_process("parts", module="search", **cache)
    theirs = in_a_process("sklearn", module="search")
    scores = runs["one job"][1]
    print("\n### The search by skann\n")
    print(
        "| run by | just started | later | to one job | scores |\n|---|---|---|---|---|"
    )
    alone = statistics.median(runs["one job"][0][1:])
    for way, (seconds, found) in runs.items():
        after = statistics.median(seconds[1:])
        same = "the same" if found == scores else "OTHER"
        print(
            f"| {way} | {seconds[0]:.1f} s | {after:.1f} s | {alone / after:.2f} |"
            f" {same} |"
        )
    print("\n### The search by the peers\n")
    print(
        "| search | peer | its time | skann | ratio | at least |\n"
        "|---|---|---|---|---|---|"
    )
    print(
        f"| whole | scikit-learn MLP | {theirs:.1f} s | {alone:.1f} s | "
        f"{theirs / alone:.1f} | 5 |"
    )
    print(
        f"| {FEW_CANDIDATES} candidates, {FEW_EPOCHS} epochs | scikeras | "
        f"{few_theirs:.1f} s | {few_ours:.2f} s | {few_theirs / few_ours:.0f} | 60 |"
    )
    print("\n### Where the time goes\n\n| part | first search | later |\n|---|---|---|")
    for part in {**first, **later}:
        print(f"| {part} | {first.get(part, 0):.2f} s | {later.get(part, 0):.2f} s |")


def scikeras():
    """Print how long scikeras takes for the whole search; itself some ten minutes."""
    ours, theirs = in_a_process("beside_scikeras", 10, 100, module="search")
    print("\n### The whole search by scikeras\n")
    print("| skann | scikeras | ratio | at least |\n|---|---|---|---|")
    print(f"| {ours:.1f} s | {theirs:.0f} s | {theirs / ours:.0f} | 60 |", flush=True)
