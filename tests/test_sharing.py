"""Fits that share a program, and fits that must not."""

import contextlib

import keras
import numpy as np
import pytest
from sharing_cases import N_FEATURES, PAIRS

from skann.training import Feed, in_order, prepare, train

BATCH, ROWS, EPOCHS = 4, 10, 2


@pytest.fixture(autouse=True)
def float64():
    """Differences are of the fits, not of rounding."""

    def set_precision(dtype):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)

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


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_differs_in_one_hidden_thing_is_trained_by_itself(pair):
    with contextlib.closing(pair()) as cases:
        first = next(cases)
        expected = by_keras(first)
        assert_same(by_engine(first), expected)
        second = next(cases)
        other = by_keras(second)
        assert differ(other, expected)
        assert_same(by_engine(second), other)
