"""What callbacks say to the loop of training, heeded as in ``keras.Model.fit``.

A table of callbacks times the ways of training: NumPy, the graph, the compiled program,
and Keras by way of the engine. Each is compared with Keras alone: the hooks that are
called, what they see, the history, the weights and the optimizer's state.
"""

import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from thinned import thinned

from skann._data.feed import Feed
from skann._runtime.seeds import in_order
from skann._training import loop, work
from skann._training.graph import trainer
from skann._training.graph.program import prepare
from skann._training.loop import train

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype("float32")
Y = (X[:, :1] * X[:, 1:2]).astype("float32")
BATCH, EPOCHS = 16, 4


class Tell(keras.callbacks.Callback):
    """Notes what each hook is told, and what it sees of the model."""

    def __init__(self):
        super().__init__()
        self.told = []

    def _tell(self, hook, logs, *epoch):
        model = self.model
        seen = [weights.copy() for weights in model.get_weights()]
        steps = int(model.optimizer.iterations.numpy())
        self.told.append((hook, *epoch, dict(logs or {}), seen, steps, self.params))

    def on_train_begin(self, logs=None):
        self._tell("train begin", logs)

    def on_train_end(self, logs=None):
        self._tell("train end", logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._tell("epoch begin", logs, epoch)

    def on_epoch_end(self, epoch, logs=None):
        self._tell("epoch end", logs, epoch)

    def on_test_begin(self, logs=None):
        self._tell("test begin", logs)

    def on_test_end(self, logs=None):
        self._tell("test end", logs)


def at(moment, do):
    """Return a callback that does something to the model at one moment.

    A moment is a hook's name, and for those of epochs the epoch's number.
    """
    hook, *epoch = moment.split()

    class Does(keras.callbacks.Callback):
        pass

    def of_an_epoch(self, number, logs=None):
        if not epoch or int(epoch[0]) == number:
            do(self.model)

    def of_all(self, logs=None):
        do(self.model)

    setattr(Does, hook, of_an_epoch if "epoch" in hook else of_all)
    return lambda path: [Does()]


def stop(model):
    model.stop_training = True


def go_on(model):
    model.stop_training = False


def other_weights(model):
    model.set_weights([0.5 * w + 0.1 for w in model.get_weights()])


def freeze(model):
    model.layers[0].trainable = False


def freeze_by_hand(model):
    freeze(model)
    model.make_train_function(force=True)


def setting(**values):
    def do(model):
        for name, value in values.items():
            setattr(model.optimizer, name, value)

    do.__name__ = next(iter(values))
    return do


def use(model):
    """Use the model as a user may, and leave it as it was."""
    model.predict(X[:5], verbose=0)
    model.evaluate(X[:20], Y[:20], verbose=0)


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
HOOKS = [
    *("on_train_begin", "on_epoch_begin 0", "on_epoch_begin 1", "on_test_begin"),
    *("on_test_end", "on_epoch_end 0", "on_epoch_end 1", "on_epoch_end 3"),
    "on_train_end",
]
FIRST = ["on_train_begin", "on_epoch_begin 0", "on_epoch_begin 1"]
WHERE = [
    (stop, HOOKS),
    (other_weights, HOOKS),
    (freeze, FIRST),
    # In on_epoch_begin, Keras counts the rows of `evaluate` as the epoch's.
    (use, ["on_train_begin", "on_test_begin", "on_epoch_end 1"]),
    (setting(learning_rate=0.3), ["on_train_begin", "on_epoch_begin 1", *HOOKS[4:6]]),
    (setting(momentum=0.1), FIRST),
    (setting(clipvalue=0.01), FIRST),
]
SAID = {
    f"{what.__name__} {hook}": at(hook, what) for what, hooks in WHERE for hook in hooks
}
SAID |= {
    "by hand": at("on_epoch_begin 2", freeze_by_hand),
    "schedule": at("on_epoch_begin 2", setting(learning_rate=SCHEDULE)),
    "iterations": at("on_epoch_end 0", lambda m: m.optimizer.iterations.assign(40)),
    "stop, go on": lambda path: [
        *at("on_epoch_end", stop)(path),
        *at("on_epoch_end 0", go_on)(path),
    ],
    "initial epoch": at("on_train_begin", lambda m: setattr(m, "_initial_epoch", 2)),
    "no epochs": at("on_train_begin", lambda m: setattr(m, "_initial_epoch", EPOCHS)),
    "stop evaluating": at(
        "on_test_begin", lambda m: setattr(m, "stop_evaluating", True)
    ),
}


class Adds(keras.callbacks.Callback):
    """Puts a score in the logs, and changes what is there."""

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = 10 - epoch
        logs["loss"] = logs["loss"] + 1


OF_KERAS = {
    "CSVLogger": lambda path: [keras.callbacks.CSVLogger(path / "log.csv")],
    "EarlyStopping": lambda path: [
        keras.callbacks.EarlyStopping("loss", patience=1, min_delta=9),
    ],
    "EarlyStopping of a score": lambda path: [
        Adds(),
        keras.callbacks.EarlyStopping(
            "score", mode="max", patience=1, restore_best_weights=True
        ),
    ],
    "History": lambda path: [keras.callbacks.History()],
    "LambdaCallback": lambda path: [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    ],
    "LearningRateScheduler": lambda path: [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    ],
    "ModelCheckpoint": lambda path: [
        keras.callbacks.ModelCheckpoint(path / "m.keras", save_best_only=True)
    ],
    "ReduceLROnPlateau": lambda path: [
        keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=9)
    ],
    "TensorBoard": lambda path: [keras.callbacks.TensorBoard(path / "logs")],
    "BackupAndRestore": lambda path: [keras.callbacks.BackupAndRestore(path / "b")],
    "CallbackList": lambda path: [keras.callbacks.Callback()],
    "TerminateOnNaN": lambda path: [keras.callbacks.TerminateOnNaN()],
    "ProgbarLogger": lambda path: [keras.callbacks.ProgbarLogger()],
    "SwapEMAWeights": lambda path: [keras.callbacks.SwapEMAWeights()],
    "SwapEMAWeights at epochs": lambda path: [
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    ],
}
CALLBACKS = SAID | OF_KERAS


@pytest.fixture
def way(request, monkeypatch):
    """The way of training, of a network that would be trained in NumPy."""
    if request.param in ("graph", "compiled"):
        monkeypatch.setattr(loop, "is_trained_in_numpy", lambda *of: False)
        monkeypatch.setattr(trainer, "is_evaluated_in_numpy", lambda *of, **how: False)
    if request.param == "compiled":
        monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 0)
    return request.param


def network(name):
    averaged = "SwapEMA" in name
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, use_ema=averaged)
    init = keras.initializers.GlorotUniform(seed=1)
    layers = [
        keras.layers.Dense(4, activation="tanh", kernel_initializer=init),
        keras.layers.Dense(1, kernel_initializer=init),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    # An object, as skann gives it: of a name, the steps are not known in NumPy.
    model.compile(optimizer, keras.losses.MeanSquaredError())
    optimizer.build(model.trainable_variables)
    return model


@functools.cache
def by_keras_alone(name):
    model, tell = network(name), Tell()
    with tempfile.TemporaryDirectory() as path:
        model.fit(
            X,
            Y,
            validation_data=(X[:30], Y[:30]),
            batch_size=BATCH,
            epochs=EPOCHS,
            shuffle=False,
            verbose=0,
            callbacks=[*CALLBACKS[name](Path(path)), tell],
        )
    return model, tell


def by_engine(name, engine, path, tell):
    model = network(name)
    feed = Feed(X, Y, dtype="float32")
    prepare(model, feed)
    trained = train(
        model,
        feed,
        Feed(X[:30], Y[:30], dtype="float32"),
        callbacks=[*CALLBACKS[name](path), tell],
        batch_size=BATCH,
        row_order=in_order,
        initial_epoch=0,
        epochs=EPOCHS,
        verbose=0,
        engine=engine,
    )
    return model, trained


def assert_same(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert_same(ours[name], theirs[name])
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    elif isinstance(ours, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5)


# By way of the engine, Keras is Keras but for its callbacks' begin and end.
BY_KERAS = [n for n in CALLBACKS if n in OF_KERAS or "stop" in n or "epochs" in n]
CASES = [(n, way) for way in ("numpy", "graph") for n in CALLBACKS]
# One loop runs the epochs of a graph and of a program: a third of the latter will do.
CASES += thinned([(n, "compiled") for n in CALLBACKS], 3)
CASES += [(n, "keras") for n in BY_KERAS]


@pytest.mark.parametrize(("name", "way"), CASES, indirect=["way"])
def test_as_keras(name, way, tmp_path):
    theirs, expected = by_keras_alone(name)
    tell = Tell()
    engine = "keras" if way == "keras" else "auto"
    ours, trained = by_engine(name, engine, tmp_path, tell)
    for a, b in zip(tell.told, expected.told, strict=False):
        assert_same(a, b)
    assert len(tell.told) == len(expected.told)
    assert_same(trained.history, theirs.history.history)
    assert_same(ours.get_weights(), theirs.get_weights())
    state = [[v.numpy() for v in m.optimizer.variables] for m in (ours, theirs)]
    assert_same(*state)
    if name.startswith(("stop", "other_weights")):
        assert trained.engine == way
    else:  # What a callback has made of the model may not run in NumPy.
        assert (trained.engine == "keras") is (way == "keras")
