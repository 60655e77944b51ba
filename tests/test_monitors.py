"""Which way a monitored name goes, as Keras knows it, and who goes by that."""

import inspect

import keras
import numpy as np
import pytest

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._training.history import best_epoch
from skann._training.monitor import direction_of
from skann._training.restoring import EarlyStopping
from skann.exceptions import DivergenceError
from skann.plotting import LossCurveDisplay

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X @ np.array([1.0, 2.0, 3.0]) + 10
SMALL = {"n_hidden": 1, "n_neurons": 4, "epochs": 6, "random_state": 0}
BEST = {"max": np.argmax, "min": np.argmin}


def by_keras(monitor, model):
    """Return the direction that Keras' own early stopping finds, or None."""
    stopping = keras.callbacks.EarlyStopping(monitor)
    stopping.set_model(model)
    try:
        stopping._set_monitor_op()
    except ValueError:
        return None
    return "min" if stopping.monitor_op is keras.ops.less else "max"


def metrics_of_keras():
    """Yield an object of each of Keras' metric classes, renamed."""
    needed = {
        "num_classes": 2,
        "target_class_ids": [0],
        "recall": 0.5,
        "precision": 0.5,
        "specificity": 0.5,
        "sensitivity": 0.5,
        "fn": keras.losses.mean_squared_error,
    }
    for cls in vars(keras.metrics).values():
        if isinstance(cls, type) and cls is not keras.metrics.Metric:
            takes = inspect.signature(cls).parameters
            arguments = {k: needed[k] for k in takes.keys() & needed.keys()}
            if "sensitivity" in cls.__name__.lower()[:11]:
                arguments.pop("sensitivity", None)
            yield cls(**arguments, name="quality")


def compiled_with(metric, outputs=2):
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(outputs, activation="softmax")]
    )
    model.compile(loss="mse", metrics=[metric])
    rows = np.zeros((1, 3), "float32"), np.zeros((1, outputs), "float32")
    try:
        model._symbolic_build(data_batch=rows)
    except (ValueError, TypeError, AttributeError, RuntimeError):
        return None  # Of ragged, sparse or single targets.
    return model


def test_every_metric_of_keras_goes_the_way_that_keras_has_it_go():
    found = {}
    for metric in metrics_of_keras():
        model = compiled_with(metric)
        if model is None:
            continue
        for prefix in ("", "val_"):
            way = direction_of(f"{prefix}quality", "auto", model.metrics)
            assert way == by_keras(f"{prefix}quality", model), metric
        found[type(metric).__name__] = way
    assert len(found) > 30
    known = {"AUC": "max", "Precision": "max", "CosineSimilarity": "max"}
    known |= {"R2Score": "max", "BinaryAccuracy": "max", "MeanSquaredError": "min"}
    known |= {"FalsePositives": None, "Poisson": "min"}
    assert found.items() >= known.items()


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_losses_fall(name):
    assert direction_of(name, "auto", []) == "min"
    assert direction_of(name, "max", []) == "max"


REGRESSION = ["cosine_similarity", "r2_score", "mae", keras.metrics.R2Score(name="err")]
CLASSES = ["accuracy", "precision", "recall", keras.metrics.AUC(name="quality")]


@pytest.mark.parametrize("metric", [*REGRESSION, *CLASSES], ids=str)
def test_best_epoch_early_stopping_and_checkpoint_agree(metric, tmp_path):
    estimator = MLPKerasRegressor if metric in REGRESSION else MLPKerasClassifier
    y = Y if metric in REGRESSION else Y > 10
    name = metric if isinstance(metric, str) else metric.name
    path = tmp_path / "best.weights.h5"
    model = estimator(
        **{**SMALL, "learning_rate": 0.3, "epochs": 8},
        metrics=[metric],
        monitor=f"val_{name}",
        early_stopping=True,
        patience=20,
        checkpoint_path=path,
    ).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    values = model.history_[f"val_{name}"]
    falls = name == "mae"
    assert model.best_epoch_ == BEST["min" if falls else "max"](values)
    kept = keras.models.clone_model(model.model_)
    kept.load_weights(path)
    for ours, theirs in zip(kept.weights, model.model_.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    marker = LossCurveDisplay.from_estimator(model, metric=name).best_epoch_marker_
    assert marker.get_ydata() == (min(values) if falls else max(values))


def closeness(y_true, y_pred):
    return -keras.ops.abs(y_true - y_pred)


class Own(keras.metrics.Mean):
    """A metric class that does not say which way it goes."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(closeness(y_true, y_pred), sample_weight)


@pytest.mark.parametrize("metric", [closeness, Own(name="closeness")])
@pytest.mark.parametrize("more", [{"early_stopping": True}, {"early_stopping": False}])
def test_what_keras_does_not_know_is_asked_for_before_training(metric, more):
    fails = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: 1 / 0)
    model = MLPKerasRegressor(**SMALL, metrics=[metric], monitor="closeness", **more)
    with pytest.raises(ValueError, match=r"monitor='closeness'.*monitor_mode='max'"):
        model.fit(X, Y, callbacks=[fails])
    assert not hasattr(model, "history_")


@pytest.mark.parametrize(("mode", "n_iter"), [("max", 30), ("min", 3)])
def test_the_mode_given_is_heeded(mode, n_iter):
    model = MLPKerasRegressor(
        **{**SMALL, "epochs": 30},
        metrics=[closeness],
        monitor="closeness",  # Which rises.
        monitor_mode=mode,
        early_stopping=True,
        patience=2,
    ).fit(X, Y)
    assert model.n_iter_ == n_iter
    assert model.best_epoch_ == BEST[mode](model.history_["closeness"])


def test_a_metric_that_is_not_monitored_needs_no_direction():
    model = MLPKerasRegressor(**SMALL, metrics=[closeness]).fit(X, Y)
    assert model.best_epoch_ == np.argmin(model.history_["loss"])


@pytest.mark.parametrize("direction", ["min", "max"])
def test_an_epoch_of_nan_is_no_epoch_to_go_back_to(direction):
    stopping = EarlyStopping("val_loss", mode=direction, patience=9)
    stopping.restore_best_weights = True
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    stopping.set_model(model)
    stopping.on_train_begin()
    values = [np.nan, 2.0, np.nan, 1.0, 3.0]
    for epoch, value in enumerate(values):
        model.set_weights([np.full((1, 1), epoch), np.zeros(1)])
        stopping.on_epoch_end(epoch, {"val_loss": value})
    stopping.restore()
    best = np.nanargmin(values) if direction == "min" else np.nanargmax(values)
    assert model.get_weights()[0] == best == best_epoch(values, direction)


def test_divergence_is_a_value_error_and_an_arithmetic_error():
    assert issubclass(DivergenceError, ValueError)
    assert issubclass(DivergenceError, ArithmeticError)


@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize(
    "make",
    [
        keras.callbacks.EarlyStopping,
        keras.callbacks.ReduceLROnPlateau,
        lambda name, **how: keras.callbacks.ModelCheckpoint("x.keras", name, **how),
    ],
)
def test_a_callback_without_a_direction_is_told_before_training(make, engine):
    fails = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: 1 / 0)
    callbacks = [fails, make("closeness")]
    model = MLPKerasRegressor(
        **SMALL, metrics=[closeness], callbacks=callbacks, engine=engine
    )
    with pytest.raises(ValueError, match=r"^callbacks has .*closeness.* mode='max'"):
        model.fit(X, Y)
