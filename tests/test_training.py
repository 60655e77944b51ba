"""The engine against ``keras.Model.fit``: the same weights and the same history."""

import keras
import numpy as np
import pytest
from thinned import thinned

from skann._data.feed import Feed
from skann._runtime.seeds import in_order
from skann._training.graph.cache import PROGRAMS
from skann._training.graph.last_batch import can_be_filled_up
from skann._training.graph.program import prepare
from skann._training.loop import train
from skann._training.numpy.recognised import Evaluation, is_trained_in_numpy
from skann._training.numpy.trainer import DenseTrainer

N_FEATURES, BATCH = 5, 16


def dense(loss, optimizer, **compile_kwargs):
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            keras.layers.Dense(8, activation="tanh", kernel_regularizer="l2"),
            keras.layers.Dense(1),
        ]
    )
    model.compile(loss=loss, optimizer=optimizer, **compile_kwargs)
    return model


def batch_norm(loss, optimizer, **compile_kwargs):
    model = keras.Sequential(
        [
            keras.Input((N_FEATURES,)),
            # A bias here has no gradient but rounding, blown up by Adam to full steps.
            keras.layers.Dense(8, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dense(1),
        ]
    )
    model.compile(loss=loss, optimizer=optimizer, **compile_kwargs)
    return model


def functional(loss, optimizer, **compile_kwargs):
    inputs = keras.Input((N_FEATURES,))
    hidden = keras.layers.Dense(6, activation="relu")(inputs)
    outputs = keras.layers.Dense(1)(keras.layers.Concatenate()([inputs, hidden]))
    model = keras.Model(inputs, outputs)
    model.compile(loss=loss, optimizer=optimizer, **compile_kwargs)
    return model


class Residual(keras.Model):
    """A subclassed model with a train step of its own, which logs what it likes."""

    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(N_FEATURES, activation="relu")
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(x + self.hidden(x))

    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "bias": keras.ops.sum(self.out.bias)}


def subclassed(loss, optimizer, **compile_kwargs):
    model = Residual()
    model.compile(loss=loss, optimizer=optimizer, **compile_kwargs)
    return model


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 1.5, axis=-1)


def decaying():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    return keras.optimizers.SGD(schedule, momentum=0.9)


MODELS = [dense, batch_norm, functional, subclassed]
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "sgd": lambda: keras.optimizers.SGD(0.01),
    "rmsprop, clipped": lambda: keras.optimizers.RMSprop(0.01, clipnorm=1.0),
    "adamw, averaged": lambda: keras.optimizers.AdamW(
        0.01, weight_decay=0.1, use_ema=True
    ),
    "momentum, decaying": decaying,
}
LOSSES = [keras.losses.Huber(0.5), own_loss]


def data(n_rows, weighted, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, N_FEATURES))
    y = X[:, :1] * X[:, 1:2] + 0.1 * rng.normal(size=(n_rows, 1))
    weight = rng.uniform(0.5, 2, n_rows) if weighted else None
    return [p if p is None else p.astype(keras.config.floatx()) for p in (X, y, weight)]


def sets(n_rows=90, weighted=False, target=lambda y: y):
    """Return the training and the validation set, each X, y and weights or None."""
    found = data(n_rows, weighted), data(40, weighted, seed=1)
    return [(X, target(y), weight) for X, y, weight in found]


def by_keras(model, training, validation, epochs=3, callbacks=list):
    """Train a model by Keras; return it, and the weights it had at first."""
    X, y, weight = training
    model(X[:1])
    first = model.get_weights()
    model.fit(
        X,
        y,
        sample_weight=weight,
        validation_data=tuple(part for part in validation if part is not None),
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks(),
    )
    return model, first


def by_engine(model, first, training, validation, epochs=3, callbacks=list):
    """Train a model with these first weights by the engine, and return its history."""
    model(training[0][:1])
    model.set_weights(first)
    feed = Feed(*training, dtype=keras.config.floatx())
    prepare(model, feed)
    trained = train(
        model,
        feed,
        Feed(*validation, dtype=keras.config.floatx()),
        callbacks=callbacks(),
        batch_size=BATCH,
        row_order=in_order,
        initial_epoch=0,
        epochs=epochs,
        verbose=0,
        engine="compiled",
    )
    assert trained.engine != "keras"
    return trained.history


def both(make, n_rows=90, weighted=False, target=lambda y: y, **how):
    """Train the same model by Keras and by the engine; return models and history."""
    rows = sets(n_rows, weighted, target)
    theirs, first = by_keras(make(), *rows, **how)
    ours = make()
    return theirs, ours, by_engine(ours, first, *rows, **how)


# Both ways to run a program, whatever the amount of work.
STEPS_WORTH_COMPILING = {"graph": 10**9, "xla": 0}


def each_way(make, theirs, first, *rows, **how):
    """Yield models and history, of Keras and of the engine in one way or another."""
    for few in STEPS_WORTH_COMPILING.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skann._training.work.STEPS_WORTH_COMPILING", few)
            ours = make()
            yield theirs, ours, by_engine(ours, first, *rows, **how)


def assert_equal_each_way(make, tolerance, weighted=False, **how):
    rows = sets(weighted=weighted)
    trained = by_keras(make(), *rows, **how)
    for found in each_way(make, *trained, *rows, **how):
        assert_equal(*found, **tolerance)


# In float64, where the same arithmetic in another order differs in the last digits.
# Adam divides a gradient by its own size, so that in float32 one which is nothing but
# rounding moves a weight by a whole step, and two processors differ in which way.
EXACT = {"rtol": 1e-9, "atol": 1e-11}
SINGLE = {"rtol": 1e-5, "atol": 1e-6}


def assert_equal(theirs, ours, history, rtol, atol):
    expected = theirs.history.history
    assert history.keys() == expected.keys()
    for name in expected:
        # Keras adds up its metrics in float32, whatever the model's type.
        np.testing.assert_allclose(
            history[name], expected[name], rtol=max(rtol, 1e-6), err_msg=name
        )
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(b, a, rtol=rtol, atol=atol)


@pytest.fixture(autouse=True)
def seed():
    """The same initial weights in every run.

    Some make an R2 score so near 0 that rounding in float32 is more than the tolerance.
    """
    keras.utils.set_random_seed(0)


@pytest.fixture
def float64():
    def set_precision(dtype):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)

    set_precision("float64")
    yield
    set_precision("float32")


@pytest.fixture
def xla(monkeypatch):
    monkeypatch.setattr("skann._training.work.STEPS_WORTH_COMPILING", 0)


@pytest.mark.parametrize(
    ("make", "weighted"),
    thinned(
        [(make, weighted) for weighted in (False, True) for make in MODELS],
        {(make, i % 2 == 1) for i, make in enumerate(MODELS)},
    ),
)
def test_equals_keras_for_every_kind_of_model(float64, make, weighted):
    def model():
        return make("mse", "adam", metrics=["mae"], weighted_metrics=["mse"])

    assert_equal_each_way(model, EXACT, weighted)


@pytest.mark.parametrize("make", MODELS)
def test_equals_keras_in_single_precision(make):
    def model():
        return make("mse", keras.optimizers.SGD(0.01), metrics=["mae"])

    assert_equal_each_way(model, SINGLE, weighted=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_keras_for_every_optimizer(float64, xla, name):
    make = lambda: dense("mse", OPTIMIZERS[name]())  # noqa: E731
    assert_equal(*both(make, weighted=True), **EXACT)


# The step of an optimizer knows of no loss, and none of an optimizer.
@pytest.mark.parametrize("loss", LOSSES, ids=["huber", "own"])
@pytest.mark.parametrize("name", ["adam", "momentum, decaying"])
def test_equals_keras_for_every_loss(float64, xla, loss, name):
    make = lambda: dense(loss, OPTIMIZERS[name]())  # noqa: E731
    assert_equal(*both(make, weighted=True), **EXACT)


@pytest.mark.parametrize(
    ("make", "weighted"),
    thinned(
        [(dense, True), (dense, False), (batch_norm, True), (batch_norm, False)], 3
    ),
)
def test_equals_keras_for_every_size_of_the_last_batch(float64, make, weighted):
    def model():
        return make("mse", "sgd", metrics=["mae"], weighted_metrics=["mae"])

    # Keras traces its steps once for all sizes.
    theirs = model()
    for n_rows in (1, 15, 16, 17, 32, 33):
        theirs.set_weights(model().get_weights())
        theirs.optimizer.iterations.assign(0)
        rows = sets(n_rows, weighted)
        trained = by_keras(theirs, *rows)
        for found in each_way(model, *trained, *rows):
            assert_equal(*found, **EXACT)


@pytest.fixture
def filled_up(monkeypatch):
    """Fail where a short batch is not filled up, in training and in validation."""
    told = []

    def tell(model):
        told.append(can_be_filled_up(model))
        return told[-1]

    monkeypatch.setattr("skann._training.graph.program.can_be_filled_up", tell)
    PROGRAMS.clear()
    yield
    assert told == [True, True]


ROW_LOSSES = {
    "mean_squared_error": "linear",
    "mean_absolute_error": "linear",
    "mean_absolute_percentage_error": "linear",
    "mean_squared_logarithmic_error": "softplus",
    "huber": "linear",
    "log_cosh": "linear",
    "hinge": "tanh",
    "squared_hinge": "tanh",
    "poisson": "softplus",
    "binary_crossentropy": "sigmoid",
}


@pytest.mark.parametrize("loss", thinned(ROW_LOSSES, 4))
def test_a_short_batch_is_filled_up_for_losses_of_rows(float64, xla, filled_up, loss):
    def model():
        out = ROW_LOSSES[loss]
        return stack(loss, "adam", out=out, hidden="tanh", metrics=["mse", "mae"])

    def target(y):
        return (y > 0).astype(y.dtype) if ROW_LOSSES[loss] == "sigmoid" else np.exp(y)

    assert_equal(*both(model, n_rows=42, weighted=True, target=target), **EXACT)


@pytest.mark.parametrize(
    "loss", ["categorical_crossentropy", "sparse_categorical_crossentropy"]
)
def test_a_short_batch_is_filled_up_for_classes(float64, xla, filled_up, loss):
    def model():
        return stack(loss, "sgd", 3, out="softmax", metrics=["accuracy"])

    def target(y):
        one_hot = classes(3)(y)
        codes = one_hot.argmax(axis=1).astype("int32").reshape(-1, 1)
        return codes if "sparse" in loss else one_hot

    assert_equal(*both(model, n_rows=42, target=target), **EXACT)


def test_rows_that_fill_up_are_ones_that_the_layers_can_take(float64, xla, filled_up):
    def model():
        layers = [
            keras.Input((N_FEATURES,)),
            keras.layers.Dense(7, use_bias=False),
            keras.layers.LayerNormalization(epsilon=0.0),
            keras.layers.Dense(1),
        ]
        model = keras.Sequential(layers)
        model.compile(loss="mse", optimizer="sgd")
        return model

    assert_equal(*both(model, n_rows=42), **EXACT)


class Untold(keras.Sequential):
    """Reports a loss by the name of a metric, which it does not tell of it."""

    def train_step(self, data):
        super().train_step(data)
        self.reset_metrics()
        return {"loss": keras.ops.convert_to_tensor(7.0)}


def test_logs_are_what_keras_makes_of_them():
    def model():
        model = Untold([keras.Input((N_FEATURES,)), keras.layers.Dense(1)])
        model.compile(loss="mse", optimizer="sgd")
        return model

    rows = sets(n_rows=42)
    for theirs, _, history in each_way(model, *by_keras(model(), *rows), *rows):
        assert history["loss"] == theirs.history.history["loss"]


def summed(loss, optimizer):
    return stack(keras.losses.MeanSquaredError(reduction="sum"), optimizer)


def penalised(loss, optimizer):
    return stack(loss, optimizer, activity_regularizer="l2")


def measured_as_one(loss, optimizer):
    return stack(loss, optimizer, metrics=[keras.metrics.R2Score()])


def measured_by_own(loss, optimizer):
    return stack(loss, optimizer, metrics=[own_loss])


@pytest.mark.parametrize(
    "make", [batch_norm, summed, penalised, measured_as_one, measured_by_own]
)
def test_a_short_batch_stays_short_where_rows_are_not_alone(xla, make):
    model = make("mse", "sgd")
    rows = Feed(*data(5, weighted=False))
    prepare(model, rows)
    assert not can_be_filled_up(model)
    assert_equal(*both(lambda: make("mse", "sgd"), n_rows=40), **SINGLE)


def epoch_callbacks():
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7),
        keras.callbacks.ReduceLROnPlateau(patience=1, monitor="loss", min_delta=10.0),
        keras.callbacks.EarlyStopping(monitor="loss", patience=2, min_delta=0.01),
    ]


def test_equals_keras_with_callbacks_at_epoch_ends(float64):
    make = lambda: dense("mse", keras.optimizers.SGD(0.01))  # noqa: E731
    assert_equal_each_way(make, EXACT, epochs=8, callbacks=epoch_callbacks)


@pytest.fixture
def numpy_only(monkeypatch):
    """Fail where the steps are not those of NumPy."""
    ran = []
    epoch = DenseTrainer.epoch
    monkeypatch.setattr(
        DenseTrainer, "epoch", lambda self, i: ran.append(i) or epoch(self, i)
    )
    yield
    assert ran


def stack(
    loss, optimizer, n_outputs=1, hidden="relu", out="linear", metrics=None, **dense
):
    layers = [keras.Input((N_FEATURES,))]
    layers += [keras.layers.Dense(7, activation=hidden, **dense) for _ in range(2)]
    layers += [keras.layers.Dense(n_outputs, activation=out, **dense)]
    model = keras.Sequential(layers)
    model.compile(loss=loss, optimizer=optimizer, metrics=metrics)
    return model


def classes(n_outputs):
    """Targets of a classifier, made of those of the regressions."""

    def one_hot(y):
        return np.eye(n_outputs)[np.digitize(y[:, 0], [-0.3, 0.3])]

    return one_hot


TARGETS = {
    keras.losses.MeanSquaredError: ("linear", 1, lambda y: y),
    keras.losses.MeanAbsoluteError: ("tanh", 2, lambda y: np.hstack([y, -y])),
    keras.losses.BinaryCrossentropy: (
        "sigmoid",
        2,
        lambda y: np.hstack([y > 0, y < 0.5]).astype(y.dtype),
    ),
    keras.losses.CategoricalCrossentropy: ("softmax", 3, classes(3)),
    keras.losses.SparseCategoricalCrossentropy: (
        "softmax",
        3,
        lambda y: classes(3)(y).argmax(axis=1, keepdims=True).astype("int32"),
    ),
}
SMALL_OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01, beta_1=0.8),
    "sgd": lambda: keras.optimizers.SGD(0.05),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
}


# Every two of the three meet.
STEPS = [
    (loss, optimizer, bool((i + j) % 2))
    for i, loss in enumerate(TARGETS)
    for j, optimizer in enumerate(SMALL_OPTIMIZERS)
]


@pytest.mark.parametrize(("loss", "optimizer", "weighted"), thinned(STEPS, 3))
def test_numpy_takes_the_steps_of_keras(float64, numpy_only, loss, optimizer, weighted):
    out, n_outputs, target = TARGETS[loss]

    def model():
        optimized_by = SMALL_OPTIMIZERS[optimizer]()
        return stack(loss(dtype="float64"), optimized_by, n_outputs, out=out)

    assert_equal(*both(model, weighted=weighted, target=target), **EXACT)


@pytest.mark.parametrize(
    ("loss", "weighted"),
    thinned(
        [(loss, weighted) for loss in TARGETS for weighted in (False, True)],
        {(loss, i % 2 == 1) for i, loss in enumerate(TARGETS)},
    ),
)
def test_numpy_evaluates_as_keras(float64, xla, monkeypatch, loss, weighted):
    out, n_outputs, target = TARGETS[loss]
    ran = []
    logs = Evaluation.logs
    monkeypatch.setattr(
        Evaluation, "logs", lambda self, w: ran.append(1) or logs(self, w)
    )

    def model():
        return stack(loss(dtype="float64"), "sgd", n_outputs, out=out)

    assert_equal(*both(model, weighted=weighted, target=target), **EXACT)
    assert ran


DENSE = {
    "l1 and l2": {"kernel_regularizer": keras.regularizers.L1L2(0.01, 0.02)},
    "l2": {"kernel_regularizer": keras.regularizers.L2(0.02)},
    "no bias": {"use_bias": False},
}
HIDDEN = ["linear", "relu", "tanh", "sigmoid"]


@pytest.mark.parametrize(
    ("activation", "kind"),
    thinned([(activation, kind) for activation in HIDDEN for kind in DENSE], 2),
)
def test_numpy_takes_the_steps_of_keras_with(float64, numpy_only, activation, kind):
    dense = DENSE[kind]

    def model():
        loss = keras.losses.MeanSquaredError(dtype="float64")
        return stack(loss, "adam", hidden=activation, out=activation, **dense)

    assert_equal(*both(model, callbacks=epoch_callbacks, epochs=5), **EXACT)


@pytest.mark.parametrize(
    ("model", "compiled_with"),
    [
        (dense, {"optimizer": keras.optimizers.Adam(clipnorm=1.0)}),
        (dense, {"optimizer": keras.optimizers.RMSprop()}),
        (dense, {"loss": keras.losses.Huber(dtype="float64")}),
        (dense, {"loss": keras.losses.MeanSquaredError(reduction="sum")}),
        (dense, {"metrics": ["mae"]}),
        (dense, {"loss_weights": [0.5]}),
        (batch_norm, {}),
        (functional, {}),
        (subclassed, {}),
    ],
    ids=[
        "clipping",
        "optimizer",
        "loss",
        "reduction",
        "metrics",
        "loss weights",
        "layers",
        "wiring",
        "subclass",
    ],
)
def test_what_numpy_does_not_know_is_left_to_tensorflow(float64, model, compiled_with):
    plain = {
        "loss": keras.losses.MeanSquaredError(dtype="float64"),
        "optimizer": keras.optimizers.Adam(),
    }
    assert is_trained_in_numpy(dense(**plain), (N_FEATURES,))
    assert not is_trained_in_numpy(model(**{**plain, **compiled_with}), (N_FEATURES,))
