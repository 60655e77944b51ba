"""Random fits by the engine and by Keras, which must be the same to rounding.

``engine="keras"`` is the oracle. A case is drawn from a seed: data, network, loss,
metrics, optimizer, weights, validation, callbacks, and what follows the first fit.

    python tests/fuzzing.py 2000        # cases 0 to 1999; prints those that differ
    python tests/fuzzing.py 1 --first 42 --show
"""

import argparse
import contextlib
import logging
import pickle
import subprocess
import sys
import time
import warnings
from collections import Counter

import keras
import numpy as np
from keras import layers
from scipy import sparse

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._training import work
from skann._training.schedules import FORMULAS

MOST_ROWS = 90


def pinball(y_true, y_pred):
    error = y_true - y_pred
    return keras.ops.mean(keras.ops.maximum(0.8 * error, -0.2 * error), axis=-1)


def mean_error(y_true, y_pred):
    return keras.ops.mean(y_pred - y_true, axis=-1)


class Weighted(keras.Model):
    """A model with a train step of its own."""

    def __init__(self, n_outputs, activation, factor):
        super().__init__()
        self.factor = factor
        self.hidden = layers.Dense(5, activation="tanh")
        self.top = layers.Dense(n_outputs, activation=activation)

    def call(self, inputs):
        return self.top(self.hidden(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, **rest):
        loss = super().compute_loss(x, y, y_pred, sample_weight, **rest)
        return self.factor * loss


def residual(input_shape, n_outputs, output_activation, width=6, slope=0.3):
    rows = keras.Input(input_shape)
    hidden = layers.Dense(width)(rows)
    hidden = layers.LeakyReLU(negative_slope=slope)(hidden)
    joined = layers.Concatenate()([rows, hidden])
    return keras.Model(rows, layers.Dense(n_outputs, output_activation)(joined))


def normed(input_shape, n_outputs, output_activation, momentum=0.9):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(7, use_bias=False, kernel_constraint="max_norm"),
            layers.BatchNormalization(momentum=momentum),
            layers.Activation("gelu"),
            layers.Dense(n_outputs, output_activation, activity_regularizer="l2"),
        ]
    )


def penalised(input_shape, n_outputs, output_activation, rate=1e-3):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(6, "relu", bias_regularizer=keras.regularizers.L2(rate)),
            layers.LayerNormalization(),
            layers.Dense(n_outputs, output_activation),
        ]
    )


def noisy(input_shape, n_outputs, output_activation, deviation=0.1):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.GaussianNoise(deviation, seed=3),
            layers.Dense(n_outputs, output_activation),
        ]
    )


def recurrent(input_shape, n_outputs, output_activation, units=3):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Reshape((*input_shape, 1)),
            layers.SimpleRNN(units),
            layers.Dense(n_outputs, output_activation),
        ]
    )


def weighted(n_outputs, output_activation, factor=1.0):
    return Weighted(n_outputs, output_activation, factor)


BUILDS = {
    residual: ("slope", [0.0, 0.3]),
    normed: ("momentum", [0.5, 0.9]),
    penalised: ("rate", [1e-3, 0.1]),
    noisy: ("deviation", [0.05, 0.2]),
    recurrent: ("units", [2, 3]),
    weighted: ("factor", [1.0, 0.5]),
}

OPTIMIZERS = {
    "adam": [{}, {"amsgrad": True}, {"beta_1": 0.5}, {"clipnorm": 0.1}],
    "sgd": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "rmsprop": [{}, {"momentum": 0.5}, {"centered": True}],
    "adamw": [{}, {"weight_decay": 0.1}],
    "nadam": [{}],
    "adagrad": [{}],
    "adamax": [{}],
    "adadelta": [{}],
    "ftrl": [{}],
    "lion": [{}],
    "adafactor": [{}],
    "lamb": [{}],
    "loss_scale": [{}],
}
EXTRAS = [
    {},
    {},
    {"clipvalue": 0.5},
    {"global_clipnorm": 1.0},
    {"use_ema": True, "ema_momentum": 0.8},
    {"gradient_accumulation_steps": 2},
    {"weight_decay": 0.01},
]


class Draw:
    """Draws of one case."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def one(self, things):
        return things[self.rng.integers(len(things))]

    def maybe(self, probability):
        return self.rng.uniform() < probability

    def case(self):
        """Return a case: what to make, what to fit it to, and what follows."""
        kind = self.one(["regression", "regression", "binary", "multiclass", "labels"])
        X, y, weight = self._data(kind)
        params = {**self._network(kind, X), **self._training()}
        params |= self._loss(kind) | self._optimizer(params)
        fit = {} if weight is None else {"sample_weight": weight}
        fit |= self._validation(X, y)
        if "X_val" not in fit and not self._holds_out(params):
            params.pop("early_stopping", None)
        if kind in ("binary", "multiclass") and self.maybe(0.3):
            params["class_weight"] = self.one(["balanced", {1: 3.0}])
        callbacks = self._callbacks()
        then = self.one(["end", "end", "warm", "partial", "pickle"])
        regression = kind == "regression"
        estimator = MLPKerasRegressor if regression else MLPKerasClassifier
        # In XLA another generator draws the noise.
        compiled = self.maybe(0.3) and params.get("model") is not noisy
        has_one = hasattr(params.get("learning_rate"), "get_config")  # Of Keras' own.
        if self.maybe(0.3) and not has_one:
            params["learning_rate_schedule"] = self.one(list(FORMULAS))
        # Drawn last: what was drawn of a seed before this was there stays.
        if "model" not in params and self.maybe(0.4):
            params["normalize_X"] = True
        return estimator, params, (X, y), fit, callbacks, then, compiled

    def _data(self, kind):
        n, d = int(self.rng.integers(12, MOST_ROWS)), int(self.rng.integers(1, 6))
        X = self.rng.normal(size=(n, d))
        signal = X[:, 0] + 0.5 * np.sin(3 * X[:, -1]) + 0.2 * self.rng.normal(size=n)
        if kind == "regression":
            unit = 10.0 ** self.rng.uniform(-3, 5)
            y = unit * (signal + self.rng.normal())
            columns = self.one([None, None, 1, 3])
            if columns is not None:
                y = np.column_stack([y * 10.0**i for i in range(columns)])
        elif kind == "binary":
            y = (signal > 0).astype(int)
        elif kind == "multiclass":
            y = np.digitize(signal, [-0.5, 0.5])
        else:
            y = np.column_stack([signal > 0, signal > 0.5, X[:, 0] < 0]).astype(int)
        if kind != "regression":  # Every class is there, whatever was drawn.
            y[:3] = [[0, 0, 1], [1, 1, 0], [1, 0, 1]] if y.ndim == 2 else range(3)
            y[y > 1] = 1 if kind == "binary" else y[y > 1]
        forms = [np.asarray, np.float32, np.asfortranarray, sparse.csr_array]
        weight = self.one(
            [None, None, self.rng.uniform(0.1, 3.0, n), self.rng.integers(0, 3, n) + 1]
        )
        return self.one(forms)(X), y, weight

    def _network(self, kind, X):
        dtype = self.one(["auto", "float64", "float64", "float32"])
        if self.maybe(0.35) and not sparse.issparse(X):
            build = self.one(list(BUILDS))
            name, values = BUILDS[build]
            units = {"binary": "sigmoid", "labels": "sigmoid", "multiclass": "softmax"}
            activation = units.get(kind)
            own = {name: self.one(values), "output_activation": activation}
            params = {"model": build, "model_kwargs": own}
            if kind == "regression" and build is not weighted:
                params["normalize_y"] = self.one(["auto", True])
            return params
        sizes = [int(n) for n in self.rng.integers(1, 40, self.rng.integers(0, 4))]
        activations = ["relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu"]
        params = {
            "hidden_layer_sizes": sizes,
            "activation": self.one([*activations, "softplus", "leaky_relu", "linear"]),
            "dtype": dtype,
        }
        if self.maybe(0.2):
            params["normalization"] = self.one(["batch", "layer"])
        if self.maybe(0.3):
            params |= {"l1": self.one([0.0, 1e-3]), "l2": self.one([1e-4, 0.1])}
        if self.maybe(0.2):
            params["kernel_initializer"] = self.one(["lecun_normal", "orthogonal"])
        if kind == "regression":
            params["normalize_y"] = self.one(["auto", "auto", True, False])
        return params

    def _training(self):
        return {
            "epochs": int(self.rng.integers(1, 6)),
            "batch_size": self.one([1, 7, 16, 32, 200]) if self.maybe(0.8) else 32,
            "shuffle": bool(self.maybe(0.6)),
            "random_state": int(self.rng.integers(1000)),
        }

    def _loss(self, kind):
        choices = {
            "regression": [
                {"loss": "mse"},
                {},
                {"loss": "mae"},
                {"loss": "huber", "loss_kwargs": {"delta": 2.0}},
                {"loss": pinball},
            ],
            "binary": [{}, {"loss": "categorical_crossentropy"}, {"loss": "hinge"}],
            "multiclass": [{}, {"loss": "categorical_crossentropy"}],
            "labels": [{}, {"loss": "binary_focal_crossentropy"}],
        }
        loss = dict(self.one(choices[kind]))
        if self.maybe(0.4):
            metrics = {
                "regression": ["mae", "mse", mean_error, keras.metrics.R2Score],
                "binary": ["accuracy"],
                "multiclass": ["accuracy"],
                "labels": ["binary_accuracy"],
            }[kind]
            loss["metrics"] = [self.one(metrics)]
        return loss

    def _optimizer(self, params):
        name = self.one(["adam", "adam", "sgd", *OPTIMIZERS])
        rate = float(10.0 ** self.rng.uniform(-3.5, -1.7))
        own = dict(self.one(OPTIMIZERS[name])) | dict(self.one(EXTRAS))
        if name == "loss_scale":
            inner = keras.optimizers.SGD(rate)
            return {"optimizer": keras.optimizers.LossScaleOptimizer(inner)}
        if "clipnorm" in own:
            own = {
                k: v
                for k, v in own.items()
                if k not in ("clipvalue", "global_clipnorm")
            }
        if self.maybe(0.1):
            rate = keras.optimizers.schedules.ExponentialDecay(rate, 3, 0.9)
        return {"optimizer": name, "optimizer_kwargs": own, "learning_rate": rate}

    def _validation(self, X, y):
        if not self.maybe(0.3):
            return {}
        rows = np.arange(0, len(y), 2)
        fit = {"X_val": X[rows], "y_val": y[rows]}
        if self.maybe(0.4):
            fit["sample_weight_val"] = self.rng.uniform(0.5, 2.0, len(rows))
        return fit

    def _holds_out(self, params):
        if not self.maybe(0.4):
            return False
        params |= {"validation_fraction": 0.25, "early_stopping": bool(self.maybe(0.6))}
        params |= {"patience": int(self.rng.integers(0, 3))}
        params |= {"restore_best_weights": bool(self.maybe(0.5))}
        return True

    def _callbacks(self):
        return self.one(
            [
                None,
                None,
                None,
                lambda: [keras.callbacks.LearningRateScheduler(falling)],
                lambda: [keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0)],
                lambda: [keras.callbacks.TerminateOnNaN(), Halves()],
                lambda: [keras.callbacks.EarlyStopping("loss", patience=0)],
            ]
        )


def falling(epoch, rate):
    return rate * 0.7


class Halves(keras.callbacks.Callback):
    """Changes the weights between epochs."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([0.5 * w for w in self.model.get_weights()])


def outcome(case, engine):
    """Return what becomes of a case by an engine: its numbers, or the error's kind."""
    estimator, params, (X, y), fit, callbacks, then, _ = case
    if callbacks is not None:
        params = {**params, "callbacks": callbacks()}
    model = estimator(**params, engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X, y, **fit)
            if then == "pickle":
                model = pickle.loads(pickle.dumps(model))
            if then in ("partial", "pickle"):
                model.partial_fit(X, y, sample_weight=fit.get("sample_weight"))
            elif then == "warm":
                model.set_params(warm_start=True).fit(X, y, **fit)
            return _numbers(model, X)
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def _numbers(model, X):
    probable = hasattr(model, "predict_proba")
    outputs = model.predict_proba(X) if probable else model.predict(X)
    return {
        "n_iter_": model.n_iter_,
        "best_epoch_": model.best_epoch_,
        "outputs": outputs,
        **{f"history {name}": values for name, values in model.history_.items()},
        "engine": model.engine_,
    }


def difference(case):
    """Return how the engine's outcome differs from Keras', or None, and what ran."""
    compiled = case[-1]
    few = work.STEPS_WORTH_COMPILING
    work.STEPS_WORTH_COMPILING = 1 if compiled else few
    try:
        ours = outcome(case, "auto")
    finally:
        work.STEPS_WORTH_COMPILING = few
    theirs = outcome(case, "keras")
    if isinstance(ours, str) or isinstance(theirs, str):
        same = isinstance(ours, str) and isinstance(theirs, str)
        same = same and ours.partition(":")[0] == theirs.partition(":")[0]
        what = "error" if same else None
        return (None if same else f"{ours} / {theirs}"), what
    ran = ours.pop("engine")
    theirs.pop("engine")
    if ours.keys() != theirs.keys():
        return f"{sorted(ours)} / {sorted(theirs)}", ran
    for name, value in ours.items():
        text = _far(name, value, theirs[name])
        if text is not None:
            return text, ran
    return None, ran


# Keras reports in float32, and many networks train in it: rounding grows from step to
# step. What differs in kind differs by far more.
_TOLERANCE = 2e-3


def _far(name, ours, theirs):
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape:
        return f"{name}: {ours.shape} / {theirs.shape}"
    if name == "best_epoch_":
        return None  # Of two that are equal to rounding, either may be.
    # Relative to the whole: single numbers may be near 0.
    scale = np.abs(theirs).max(initial=0.0, where=np.isfinite(theirs)) or 1.0
    close = np.isclose(ours, theirs, rtol=0, atol=_TOLERANCE * scale, equal_nan=True)
    if close.all():
        return None
    at = np.flatnonzero(~close.ravel())[0]
    return f"{name}: {ours.ravel()[at]!r} / {theirs.ravel()[at]!r}"


def run(first, n_cases):
    """Yield the seed, the case, its difference and what ran, of so many cases."""
    for seed in range(first, first + n_cases):
        case = Draw(seed).case()
        yield seed, case, *difference(case)


# tensorflow frees no traced function: a process has so many cases at most.
_CASES_OF_A_PROCESS = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("n_cases", type=int, nargs="?", default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print each case")
    arguments = parser.parse_args()
    logging.getLogger("tensorflow").setLevel("ERROR")  # It warns of Keras' many traces.
    if arguments.n_cases > _CASES_OF_A_PROCESS:
        return _in_processes(arguments)
    counts, began = Counter(), time.monotonic()
    n_different = 0
    for seed, case, text, ran in run(arguments.first, arguments.n_cases):
        counts[ran] += 1
        if arguments.show:
            estimator, params, _, fit, _, then, compiled = case
            print(estimator.__name__, params, sorted(fit), then, compiled)
        if text is not None:
            n_different += 1
            print(f"case {seed}: {text}", flush=True)
    seconds = time.monotonic() - began
    print(
        f"{arguments.n_cases} cases from {arguments.first}: {n_different} differ; "
        f"ran {dict(counts)}, {seconds:.0f} s"
    )
    return bool(n_different)


def _in_processes(arguments):
    """Run the cases in one process after another; return whether any differs."""
    end = arguments.first + arguments.n_cases
    differs = False
    for first in range(arguments.first, end, _CASES_OF_A_PROCESS):
        n_cases = str(min(_CASES_OF_A_PROCESS, end - first))
        command = [sys.executable, __file__, n_cases, "--first", str(first)]
        command += ["--show"] * arguments.show
        differs |= bool(subprocess.run(command, check=False).returncode)
    return differs


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
