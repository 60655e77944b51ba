"""Narrow layers as wider ones: which networks, to what widths, with what outputs."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal

from skann._data.unit import Unit
from skann._keras.unit_layer import add_unit
from skann._training.graph.widths import (
    STEPS_WORTH_OWN_WIDTH,
    WIDTHS,
    cut,
    pad,
    shared_units,
    widened,
)

FEW = 1000


def network(*hidden, optimizer="adam", shape=(3,), **output):
    model = keras.Sequential([keras.Input(shape), *hidden, layers.Dense(2, **output)])
    model.compile(optimizer, "mse")
    return model


def dense(units=5, activation="relu", **more):
    return layers.Dense(units, activation=activation, **more)


@pytest.mark.parametrize(
    ("units", "width"),
    [(1, 32), (31, 32), (33, 64), (65, 100), (101, 128)],
)
def test_a_layer_has_the_next_width(units, width):
    assert shared_units(network(dense(units)), FEW) == {0: width}


@pytest.mark.parametrize("units", [*WIDTHS, 129, 1000])
def test_a_layer_of_such_a_width_and_a_wider_one_keep_theirs(units):
    assert shared_units(network(dense(units)), FEW) is None
    assert shared_units(network(dense(units), dense(5)), FEW) == {0: units, 1: 32}


def test_many_steps_are_worth_a_width_of_their_own():
    assert shared_units(network(dense()), STEPS_WORTH_OWN_WIDTH - 1) == {0: 32}
    assert shared_units(network(dense()), STEPS_WORTH_OWN_WIDTH) is None


@pytest.mark.parametrize(
    "hidden",
    [
        [dense(), layers.Dropout(0.1)],
        [dense(), layers.BatchNormalization(), layers.Activation("tanh")],
        [dense(kernel_regularizer="l2")],
        [dense(), layers.BatchNormalization(axis=1)],
        *(
            [dense(activation=name)]
            for name in ("linear", "elu", "gelu", "leaky_relu", "silu", "selu", "tanh")
        ),
    ],
)
def test_layers_that_keep_what_is_0(hidden):
    assert shared_units(network(*hidden), FEW) == {0: 32}


@pytest.mark.parametrize(
    "hidden",
    [
        [],
        *([dense(activation=name)] for name in ("sigmoid", "softmax", "softplus")),
        [dense(activation=lambda z: z + 1)],
        [dense(), layers.Activation("sigmoid")],
        [dense(), layers.LayerNormalization()],
        [dense(), layers.BatchNormalization(beta_regularizer="l2")],
        [dense(), layers.BatchNormalization(gamma_constraint="non_neg")],
        [dense(activity_regularizer="l2")],
        [dense(), layers.GaussianNoise(0.1)],
        [layers.Dropout(0.1), dense()],
        [dense(), layers.Dropout(0.1, noise_shape=(1, 5))],
        [type("Own", (layers.Dense,), {})(5, "relu")],
        [dense(trainable=False)],
    ],
)
def test_layers_to_which_added_units_would_be_something(hidden):
    assert shared_units(network(*hidden), FEW) is None


@pytest.mark.parametrize(
    ("optimizer", "shared"),
    [
        ("sgd", True),
        ("lion", True),
        ("adafactor", False),  # By the mean of squares of a whole row.
        ("muon", False),
        (keras.optimizers.Adam(epsilon=0.0), False),
        (keras.optimizers.Adam(epsilon=1e-45), False),
        (type("Own", (keras.optimizers.SGD,), {})(), False),
    ],
)
def test_optimizers_to_which_added_units_are_nothing(optimizer, shared):
    model = network(dense(), optimizer=optimizer)
    assert (shared_units(model, FEW) is not None) == shared


def test_rows_may_be_flattened_first():
    model = network(layers.Flatten(), dense(), shape=(2, 3))
    assert shared_units(model, FEW) == {1: 32}
    assert shared_units(network(dense(), shape=(2, 3)), FEW) is None


def test_the_layer_of_ys_unit_may_come_last():
    model = add_unit(network(dense()), Unit(np.zeros(2), np.ones(2), np.ones(2)))
    assert shared_units(model, FEW) == {0: 32}
    model.add(layers.Activation("relu"))
    model.compile("adam", "mse")
    assert shared_units(model, FEW) is None


def test_a_layer_that_is_there_twice_keeps_its_width():
    twice = dense(5)
    assert shared_units(network(twice, dense(5), twice, shape=(5,)), FEW) is None


def test_an_output_layer_of_the_users_own_keeps_the_widths():
    own = keras.Sequential(
        [keras.Input((3,)), dense(), type("Own", (layers.Dense,), {})(2)]
    )
    own.compile("adam", "mse")
    assert shared_units(own, FEW) is None


def test_other_models_keep_their_widths():
    rows = keras.Input((3,))
    model = keras.Model(rows, layers.Dense(1)(dense()(rows)))
    model.compile("adam", "mse")
    assert shared_units(model, FEW) is None


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_the_wider_network_has_the_same_outputs_and_optimizer(shape):
    hidden = [dense(7, "tanh"), layers.BatchNormalization(), dense(40, "elu")]
    hidden = [layers.Flatten(), *hidden] if len(shape) > 1 else hidden
    optimizer = keras.optimizers.SGD(0.25, momentum=0.5)
    model = network(*hidden, optimizer=optimizer, shape=shape, activation="sigmoid")
    wide = widened(model, shared_units(model, FEW))
    wide.build((None, *shape))
    assert [x.units for x in wide.layers if hasattr(x, "units")] == [32, 64, 2]
    values = [
        pad(np.asarray(value), variable.shape)
        for value, variable in zip(model.get_weights(), wide.weights, strict=True)
    ]
    wide.set_weights(values)
    X = np.random.default_rng(0).normal(size=(20, *shape))
    assert_allclose(wide(X), model(X), rtol=1e-5, atol=1e-6)
    assert wide.optimizer.get_config() == optimizer.get_config()
    assert wide.optimizer is not optimizer
    assert wide.loss == model.loss


def test_what_is_padded_is_cut_again():
    value = np.arange(6.0).reshape(2, 3)
    padded = pad(value, (4, 5))
    assert padded.shape == (4, 5)
    assert_array_equal(cut(padded, (2, 3)), value)
    assert padded.sum() == value.sum()
    assert_array_equal(pad(value, (2, 3)), value)
