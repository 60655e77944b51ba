"""Fits that share a program, and fits that must not."""

import contextlib
import functools
import os
import subprocess
import sys
import time

import cloudpickle
import keras
import numpy as np
import pytest
from sharing_cases import (
    IN_NUMPY,
    N_FEATURES,
    PAIRS,
    Choice,
    Data,
    Error,
    Named,
    Own,
    OwnLoss,
    OwnSGD,
    Scale,
    calls_what_reads_global,
    closing_over,
    decaying,
    functional,
    holding,
    mlp,
    run,
    scaled,
    scaled_model,
    summed,
)

from skann._data.feed import Feed
from skann._keras.randomness import fresh_names
from skann._runtime.seeds import in_order
from skann._training.graph.cache import PROGRAMS, description_of
from skann._training.graph.program import prepare
from skann._training.loop import train
from skann._training.numpy.recognised import is_trained_in_numpy

BATCH, ROWS, EPOCHS = 4, 10, 2


def set_precision(dtype):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)


@pytest.fixture(autouse=True)
def float64():
    """Differences are of the fits, not of rounding."""
    set_precision("float64")
    yield
    set_precision("float32")


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, N_FEATURES))
    return X, 1.0 + X[:, :1] * X[:, 1:2]


def made(make):
    """Make a network with the same initial weights every time."""
    keras.utils.set_random_seed(0)
    X, y = data()
    with fresh_names():
        model = make()
        model(X[:1])
    return model, Feed(X, y, None, dtype="float64")


def by_keras(make):
    """Return history and weights of a fit by Keras, which traces nothing."""
    model, _ = made(make)
    model.run_eagerly = True
    history = model.fit(*data(), BATCH, EPOCHS, shuffle=False, verbose=0)
    return history.history, model.get_weights()


def by_engine(make):
    model, feed = made(make)
    prepare(model, feed)
    trained = train(
        model,
        feed,
        None,
        callbacks=[],
        batch_size=BATCH,
        row_order=in_order,
        initial_epoch=0,
        epochs=EPOCHS,
        verbose=0,
        engine="compiled",
    )
    return trained.history, model.get_weights()


def described(make):
    model, feed = made(make)
    prepare(model, feed)
    return description_of(model)


def differ(some, other):
    """Whether two fits have other histories or other weights."""
    try:
        assert_same(some, other)
    except AssertionError:
        return True
    return False


def assert_same(some, other):
    assert some[0].keys() == other[0].keys()
    for name, values in other[0].items():
        np.testing.assert_allclose(some[0][name], values, rtol=1e-6, err_msg=name)
    for weight, another in zip(some[1], other[1], strict=True):
        np.testing.assert_allclose(weight, another, rtol=1e-8, atol=1e-10)


def trained_by_itself(pair):
    """Fit both networks of a pair, the second with the first one's program there."""
    with contextlib.closing(pair()) as cases:
        first = next(cases)
        expected = by_keras(first)
        assert_same(by_engine(first), expected)
        second = next(cases)
        other = by_keras(second)
        assert differ(other, expected)
        assert_same(by_engine(second), other)


# Half of them: a fit by another program is what other tests compare with Keras.
FITTED = dict(list(PAIRS.items())[::2])
DESCRIBED = dict(list(PAIRS.items())[1::2])


@pytest.mark.parametrize("pair", FITTED.values(), ids=FITTED)
def test_what_differs_in_one_hidden_thing_is_trained_by_itself(pair):
    trained_by_itself(pair)


@pytest.mark.parametrize("pair", DESCRIBED.values(), ids=DESCRIBED)
def test_what_differs_in_one_hidden_thing_is_described_otherwise(pair):
    with contextlib.closing(pair()) as cases:
        first = next(cases)
        expected, key = by_keras(first), described(first).key
        assert key == described(first).key
        second = next(cases)
        assert described(second).key != key
        assert differ(by_keras(second), expected)


COMPILED = (
    "a closure",
    "a global of a global",
    "an attribute of a loss",
    "a number of a model, in its step",
    "optimizer.beta_1 set in place",
)


@pytest.mark.parametrize("name", COMPILED)
def test_what_differs_in_one_hidden_thing_is_compiled_by_itself(name, monkeypatch):
    monkeypatch.setattr("skann._training.work.STEPS_WORTH_COMPILING", 0)
    trained_by_itself(PAIRS[name])


@pytest.mark.parametrize("pair", IN_NUMPY.values(), ids=IN_NUMPY)
def test_what_numpy_does_not_know_is_not_computed_there(pair):
    with contextlib.closing(pair()) as cases:
        model, feed = made(next(cases))
        prepare(model, feed)
        assert is_trained_in_numpy(model, feed.row_shape)
    trained_by_itself(pair)


def sgd(rate):
    return lambda: keras.optimizers.SGD(rate)


def pickled(function):
    """Return a function as it comes from another process."""
    return cloudpickle.loads(cloudpickle.dumps(function))


def in_a_notebook():
    return run("def activation(z):\n    return ops.tanh(z) * 0.5")


def seeded(seed):
    return lambda: keras.layers.Dense(
        3, kernel_initializer=keras.initializers.HeNormal(seed=seed)
    )


def own_with_initializer():
    class WithInitializer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.kernel_initializer = keras.initializers.GlorotUniform()

        def build(self, shape):
            self.kernel = self.add_weight((shape[-1], 3), self.kernel_initializer)

        def call(self, x):
            return x @ self.kernel

    return WithInitializer()


SAME = {
    "made twice by a build function": lambda: mlp(closing_over(0.1)),
    "redefined in a notebook": lambda: mlp(in_a_notebook()),
    "sent by cloudpickle": lambda: mlp(pickled(closing_over(0.1))),
    "sent by cloudpickle, with a global": lambda: mlp(pickled(calls_what_reads_global)),
    "an object sent by cloudpickle": lambda: mlp(pickled(Scale(0.5))),
    "a class sent by cloudpickle": lambda: mlp(more=[pickled(own_with_initializer)]),
    "a method": lambda: mlp(Scale(0.5).method),
    "a partial": lambda: mlp(functools.partial(scaled, by=0.5)),
    "an array": lambda: mlp(summed([np.arange(4.0)])),
    "a dataclass": lambda: mlp(holding(Data(0.5, [1, {"a": {1, 2}}]))),
    "an enum": lambda: mlp(lambda z: scaled(z, Choice.SMALL.value)),
    "a named tuple": lambda: mlp(holding(Named(0.5))),
    "a set": lambda: mlp(summed({1.0, 2.0, "a", (3, "b")} - {"a", (3, "b")})),
    "a model of the user's": lambda: scaled_model(Data(0.0, [Data(1.0)]), "loss"),
    "a functional model": lambda: functional(lambda a, b: a + 2 * b),
    "a layer of the user's": lambda: mlp(more=[lambda: Own(0.5)]),
    "a layer with an initializer": lambda: mlp(more=[own_with_initializer]),
    "a loss": lambda: mlp(loss=OwnLoss(1.0)),
    "a metric": lambda: mlp(metrics=[Error(1.0)]),
    "a schedule": lambda: mlp(optimizer=decaying),
    "an optimizer": lambda: mlp(optimizer=lambda: OwnSGD(0.05)),
}
ALIKE = {
    "other learning rates": (mlp(optimizer=sgd(0.1)), mlp(optimizer=sgd(0.2))),
    "other seeds": (mlp(more=[seeded(1)]), mlp(more=[seeded(2)])),
    "other seeds of dropout": tuple(
        mlp(more=[lambda seed=seed: keras.layers.Dropout(0.1, seed=seed)])
        for seed in (1, 2)
    ),
    "other names": tuple(
        mlp(more=[lambda name=name: keras.layers.Dense(3, name=name)])
        for name in ("first", "second")
    ),
}
PAIRS_ALIKE = {**{name: (None, make) for name, make in SAME.items()}, **ALIKE}


@pytest.mark.parametrize("pair", PAIRS_ALIKE.values(), ids=PAIRS_ALIKE)
def test_what_is_the_same_shares_a_program(pair):
    first, second = pair
    if first is None:
        first, second = second(), second()
    assert first is not second
    PROGRAMS.clear()
    made_by = [by_engine(first), by_engine(second)]
    assert len(PROGRAMS) == 1
    if pair[0] is None:
        assert_same(*made_by)


def test_what_the_clock_or_a_generator_gives_is_never_shared():
    def drawing(z):
        return z + np.random.default_rng().normal()

    def timed(z):
        return z + time.time()

    def reading(z):
        return z + len(os.environ.get("HOME", ""))

    def dynamic(z):
        return z + globals()["EPOCHS"]

    for activation in (drawing, timed, reading, dynamic):
        assert described(mlp(activation)).is_unique


IN_ANOTHER_PROCESS = """
import sys, cloudpickle
sent = cloudpickle.load(sys.stdin.buffer)
sent["precision"]("float64")
for name, build in sent["cases"].items():
    print(name, sent["digest"](build()))
"""


def digest(make):
    description = described(make)
    assert not description.is_unique
    assert not description.same
    return description.digest


@pytest.fixture
def by_value():
    """Have cloudpickle send all of these modules, as it does with a notebook."""
    modules = [sys.modules[__name__], sys.modules["sharing_cases"]]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


def test_descriptions_are_the_same_in_every_process(by_value):
    sent = {"precision": set_precision, "digest": digest, "cases": SAME}
    printed = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS],
        input=cloudpickle.dumps(sent),
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=True,
        capture_output=True,
    ).stdout.decode()
    here = "".join(f"{name} {digest(build())}\n" for name, build in SAME.items())
    assert printed == here
