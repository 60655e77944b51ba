"""How fast: skann and its peers on the same work, side by side in one run.

Tables of medians and their ratios. Everything is warm but where it says "first". The
peers have their own best settings: no validation, no output, the same batches,
optimizer and dtype.
"""

import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._training import work
from skann.datasets import load_california_housing, load_fashion_mnist
from skann.models import build_mlp

REPEATS = 5


def median_time(work, repeats=REPEATS):
    """Return the median wall time of `work` in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@cache
def california():
    """Return the 11,610 scaled training rows, float32, the same arrays each time."""
    X, y = load_california_housing(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, random_state=42)
    X, _, y, _ = train_test_split(X, y, random_state=42)
    return StandardScaler().fit_transform(X).astype("float32"), y.astype("float32")


def table(title, rows):
    """Print rows of (work, skann seconds, {peer: seconds})."""
    print(f"\n### {title}\n\n| work | skann | peer | its time | ratio |")
    print("|---|---|---|---|---|")
    for what, ours, peers in rows:
        for peer, theirs in peers.items():
            ratio = theirs / ours
            print(
                f"| {what} | {_show(ours)} | {peer} | {_show(theirs)} | {ratio:.1f} |",
                flush=True,
            )


def _show(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.2f} ms"


def skann_epoch(cls, X, y, **params):
    """Return the time of one epoch more: that of 11 epochs less that of 1, over 10."""
    model = cls(early_stopping=False, random_state=0, dtype="float32", **params)
    # Planned long enough that it is compiled, as any fit of this size is.
    model.set_params(epochs=1, warm_start=True, engine="compiled").fit(
        X, y, epochs=max(1, 6000 * params["batch_size"] // len(X) + 1)
    )

    few, work.STEPS_WORTH_COMPILING = work.STEPS_WORTH_COMPILING, 0
    try:
        one = median_time(lambda: model.fit(X, y, epochs=1))
        more = median_time(lambda: model.fit(X, y, epochs=11))
    finally:
        work.STEPS_WORTH_COMPILING = few
    return (more - one) / 10


def keras_epoch(model, X, y, batch_size):
    """Return the time of an epoch of ``keras.Model.fit``, traced before."""

    def fit():
        model.fit(X, y, batch_size=batch_size, epochs=1, verbose=0)

    fit()
    return median_time(fit, 3)


def sklearn_epoch(cls, X, y, **params):
    """Return the time of an epoch of scikit-learn's MLP."""
    model = cls(random_state=0, **params)
    classes = {"classes": np.unique(y)} if cls is MLPClassifier else {}
    model.partial_fit(X, y, **classes)
    return median_time(lambda: model.partial_fit(X, y), 3)


def skorch_epoch():
    """Return the time of an epoch of skorch on the network 30, or None without it."""
    if find_spec("skorch") is None or find_spec("torch") is None:
        return None
    X, y = california()
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        np.savez(rows, X=X, y=y)
        run = [sys.executable, Path(__file__).with_name("skorch_loop.py"), rows]
        return float(subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout)


def compiled(sizes, optimizer, loss="mse", metrics=("mae",), **kwargs):
    """Return a compiled Keras model of these hidden layers."""
    model = build_mlp(hidden_layer_sizes=sizes, random_state=0, **kwargs)
    model.compile(loss=loss, optimizer=optimizer, metrics=list(metrics))
    return model


def epochs():
    """Time one epoch."""
    X, y = california()
    rows = []
    for sizes, more in (
        ((30,), {}),
        ((100, 100, 100), {}),
        ((64, 64), {"dropout": 0.2, "normalization": "batch"}),
    ):
        common = {"hidden_layer_sizes": sizes, "batch_size": 32}
        ours = skann_epoch(
            MLPKerasRegressor,
            X,
            y,
            normalize_y=False,
            metrics=["mae"],
            **common,
            **more,
        )
        model = compiled(sizes, "adam", input_shape=(8,), **more)
        peers = {"keras fit": keras_epoch(model, X, y, 32)}
        if not more:
            peers["scikit-learn MLP"] = sklearn_epoch(MLPRegressor, X, y, **common)
        if sizes == (30,) and (seconds := skorch_epoch()):
            peers["skorch"] = seconds
        name = "-".join(map(str, sizes)) + (", dropout, batch norm" if more else "")
        rows.append((f"California, {name}", ours, peers))
    rows.append(_fashion())
    table("One epoch, batch 32", [row for row in rows if row])


def _fashion():
    try:
        (X, y), _ = load_fashion_mnist()
    except OSError:
        return None
    X, y = (X[:55000] / np.float32(255)).reshape(55000, -1), y[:55000]
    sizes = (300, 100)
    common = {"hidden_layer_sizes": sizes, "batch_size": 32}
    ours = skann_epoch(
        MLPKerasClassifier,
        X,
        y,
        optimizer="sgd",
        learning_rate=0.01,
        metrics=["accuracy"],
        **common,
    )
    shape = {"input_shape": (784,), "n_outputs": 10, "output_activation": "softmax"}
    loss = "sparse_categorical_crossentropy"
    model = compiled(sizes, "sgd", loss, ("accuracy",), **shape)
    sgd = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.01}
    return (
        "Fashion-MNIST, 300-100, SGD",
        ours,
        {
            "keras fit": keras_epoch(model, X, y, 32),
            "scikit-learn MLP": sklearn_epoch(MLPClassifier, X, y, **common, **sgd),
        },
    )


def predict():
    """Time predictions of a network 100-100."""
    X, y = load_california_housing(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    sizes = (100, 100)
    ours = MLPKerasRegressor(hidden_layer_sizes=sizes, epochs=1, dropout=0.1)
    ours, given_away = (clone(ours).fit(X[:500], y[:500]) for _ in range(2))
    given_away.model_.summary(print_fn=lambda text: None)
    theirs = MLPRegressor(hidden_layer_sizes=sizes, max_iter=2, early_stopping=True)
    theirs.fit(X[:500], y[:500])
    wrapper = _scikeras(X[:500], y[:500], sizes)
    rows = []
    for n_rows in (1, 100, 20_000):
        some = X[:n_rows]
        repeats = 200 if n_rows < 1000 else 7
        peers = {
            "scikit-learn MLP": median_time(partial(theirs.predict, some), repeats)
        }
        if n_rows == 20_000:
            peers["scikeras"] = median_time(
                partial(wrapper.predict, some, verbose=0), 3
            )
        # As after any fit of skann's own network, and once the user has its model.
        for fitted, who in ((ours, ""), (given_away, ", after use of model_")):
            took = median_time(partial(fitted.predict, some), repeats)
            rows.append((f"predict {n_rows} rows{who}", took, peers))
    table("Predict, network 100-100", rows)


def _scikeras(X, y, sizes):
    from scikeras.wrappers import KerasRegressor

    model = compiled(sizes, "adam", metrics=(), input_shape=(8,))
    wrapper = KerasRegressor(model=model, verbose=0, epochs=1)
    return wrapper.initialize(X, y)


def first_iris_fit():
    """Return the seconds of a default fit, the first work of this process."""
    X, y = load_iris(return_X_y=True)
    return median_time(lambda: MLPKerasClassifier(random_state=0).fit(X, y), 1)


def iris():
    """Time default fits of a small table."""
    from limits import in_a_process

    X, y = load_iris(return_X_y=True)
    warnings.simplefilter("ignore")  # scikit-learn's: not converged

    def theirs():
        MLPClassifier(random_state=0).fit(X, y)

    def ours():
        MLPKerasClassifier(random_state=0).fit(X, y)

    cold = [in_a_process("first_iris_fit", module="speed") for _ in range(3)]
    theirs(), ours()
    sklearn = {"scikit-learn MLP": median_time(theirs)}
    rows = [
        ("first in a process", statistics.median(cold), sklearn),
        ("later", median_time(ours), sklearn),
    ]
    table("Default fit on iris", rows)
