"""The engine against ``keras.Model.fit``: the same weights and the same history."""

import keras
import numpy as np
import pytest

from skann.training import Feed, prepare, train

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
LOSSES = ["mse", keras.losses.Huber(0.5), own_loss]


def data(n_rows, weighted, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, N_FEATURES))
    y = X[:, :1] * X[:, 1:2] + 0.1 * rng.normal(size=(n_rows, 1))
    weight = rng.uniform(0.5, 2, n_rows) if weighted else None
    return [p if p is None else p.astype(keras.config.floatx()) for p in (X, y, weight)]


def both(make, n_rows=90, weighted=False, epochs=3, callbacks=list, work=1, **kwargs):
    """Train the same model by Keras and by the engine; return models and histories."""
    X, y, weight = data(n_rows, weighted)
    X_val, y_val, weight_val = data(40, weighted, seed=1)
    validation = [part for part in (X_val, y_val, weight_val) if part is not None]
    theirs, ours = make(), make()
    theirs(X[:1]), ours(X[:1])
    ours.set_weights(theirs.get_weights())
    theirs.fit(
        X,
        y,
        sample_weight=weight,
        validation_data=tuple(validation),
        batch_size=BATCH,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=callbacks(),
    )
    dtype = keras.config.floatx()
    feed = Feed(X, y, weight, dtype=dtype)
    prepare(ours, feed)
    history, engine = train(
        ours,
        feed,
        Feed(X_val, y_val, weight_val, dtype=dtype),
        callbacks=callbacks(),
        batch_size=BATCH,
        row_order=None,
        initial_epoch=0,
        epochs=epochs,
        verbose=0,
        engine="compiled",
    )
    assert engine == "compiled"
    return theirs, ours, history


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


@pytest.fixture
def float64():
    def set_precision(dtype):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)

    set_precision("float64")
    yield
    set_precision("float32")


@pytest.fixture(params=["graph", "xla"])
def way(request, monkeypatch):
    """Both ways to run a program, whatever the amount of work."""
    few = {"graph": 10**9, "xla": 0}[request.param]
    monkeypatch.setattr("skann.training._program.STEPS_WORTH_COMPILING", few)


@pytest.fixture
def xla(monkeypatch):
    monkeypatch.setattr("skann.training._program.STEPS_WORTH_COMPILING", 0)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_equals_keras_for_every_kind_of_model(float64, way, make, weighted):
    def model():
        return make("mse", "adam", metrics=["mae"], weighted_metrics=["mse"])

    assert_equal(*both(model, weighted=weighted), **EXACT)


@pytest.mark.parametrize("make", MODELS)
def test_equals_keras_in_single_precision(way, make):
    def model():
        return make("mse", keras.optimizers.SGD(0.01), metrics=["mae"])

    assert_equal(*both(model, weighted=True), **SINGLE)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES, ids=["mse", "huber", "own"])
def test_equals_keras_for_every_optimizer_and_loss(float64, xla, optimizer, loss):
    assert_equal(*both(lambda: dense(loss, optimizer()), weighted=True), **EXACT)


@pytest.mark.parametrize("n_rows", [1, 15, 16, 17, 32, 33])
def test_equals_keras_for_every_size_of_the_last_batch(float64, way, n_rows):
    assert_equal(*both(lambda: batch_norm("mse", "sgd"), n_rows=n_rows), **EXACT)


def epoch_callbacks():
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7),
        keras.callbacks.ReduceLROnPlateau(patience=1, monitor="loss", min_delta=10.0),
        keras.callbacks.EarlyStopping(monitor="loss", patience=2, min_delta=0.01),
    ]


def test_equals_keras_with_callbacks_at_epoch_ends(float64, way):
    make = lambda: dense("mse", keras.optimizers.SGD(0.01))  # noqa: E731
    assert_equal(*both(make, epochs=8, callbacks=epoch_callbacks), **EXACT)
