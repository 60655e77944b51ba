"""The unit of y: its mean and deviation, and for which losses and outputs it is one."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skann._keras.unit_layer import add_unit
from skann._network.y_scale import learn_unit, moments, unit_in

Y = np.random.default_rng(0).normal([5.0, -200.0], [2.0, 30.0], (50, 2))


def unit(y=Y, loss="mean_squared_error", activation="linear", n_units=2, weight=None):
    return learn_unit(y, weight, loss, activation, n_units)


def test_mean_and_deviation_of_each_column():
    mean, deviation = moments(Y, None)
    assert_allclose(mean, Y.mean(axis=0))
    assert_allclose(deviation, Y.std(axis=0))


def test_rows_count_by_their_weights():
    weight = np.r_[np.full(10, 3.0), np.ones(40)]
    repeated = np.r_[np.repeat(Y[:10], 3, axis=0), Y[10:]]
    assert_allclose(moments(Y, weight), moments(repeated, None))


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, -1e300])
def test_a_constant_has_a_deviation_of_1(value):
    mean, deviation = moments(np.full((9, 1), value), None)
    assert_allclose(mean, [value])
    assert_array_equal(deviation, [1.0])


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_no_square_overflows_or_vanishes(factor):
    mean, deviation = moments(factor * np.array([[1.0], [3.0]]), None)
    assert_allclose(mean, [2.0 * factor])
    assert_allclose(deviation, [factor])


def test_a_unit_is_that_of_the_columns():
    made, reason = unit()
    assert reason is None
    assert_allclose(made.shift, Y.mean(axis=0))
    assert_allclose(made.scale, Y.std(axis=0))
    assert_allclose(made.normalised(Y).std(axis=0), 1.0)


@pytest.mark.parametrize(
    ("loss", "power"),
    [("mean_squared_error", -1.0), ("mse", -1.0), ("mean_absolute_error", 0.0)],
)
def test_gradients_go_back_as_those_of_a_normalised_y(loss, power):
    made, _ = unit(loss=loss)
    assert_allclose(made.gradient, Y.std(axis=0) ** power)


@pytest.mark.parametrize("activation", ["relu", "softplus", "exponential"])
def test_outputs_from_0_are_scaled_only(activation):
    made, _ = unit(activation=activation)
    assert_array_equal(made.shift, [0.0, 0.0])
    assert_allclose(made.scale, Y.std(axis=0))


def test_several_outputs_for_one_column_have_its_unit():
    made, _ = unit(Y[:, :1], n_units=3)
    assert_allclose(made.shift, np.repeat(Y[:, 0].mean(), 3))
    assert_allclose(made.scale, np.repeat(Y[:, 0].std(), 3))


@pytest.mark.parametrize(
    ("loss", "activation", "match"),
    [
        ("mean_squared_error", "tanh", "activation of 'tanh' is bound"),
        ("mean_squared_error", "sigmoid", "activation of 'sigmoid' is bound"),
        ("mean_absolute_percentage_error", "linear", "loss='mean_absolute_percentage"),
        ("poisson", "exponential", "loss='poisson' is bound"),
    ],
)
def test_what_is_bound_to_ys_own_unit(loss, activation, match):
    made, reason = unit(loss=loss, activation=activation)
    assert made is None
    assert match in reason


@pytest.mark.parametrize(("name", "delta"), [("Huber", 5.0), ("LogCosh", 1.0)])
def test_a_loss_that_bends_has_gradients_of_either_side(name, delta):
    given = {"delta": delta} if name == "Huber" else {}
    made, _ = unit(loss=getattr(keras.losses, name)(**given))
    assert_allclose(made.gradient, 1.0 / np.minimum(Y.std(axis=0), delta))


def of_degree(power):
    return lambda y, outputs: keras.ops.mean(keras.ops.abs(y - outputs) ** power)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
def test_a_loss_of_the_users_own_is_tried(power):
    made, _ = unit(loss=of_degree(power))
    # Its columns may be anything but a sum: they have one scale.
    scale = np.sqrt(np.mean(Y.var(axis=0)))
    assert_allclose(made.scale, [scale, scale])
    assert_allclose(made.gradient, made.scale ** (1.0 - power))
    assert_allclose(made.shift, Y.mean(axis=0))


@pytest.mark.parametrize(
    "loss",
    [
        lambda y, outputs: keras.ops.mean((y - outputs) ** 2) + 1.0,
        lambda y, outputs: keras.ops.mean((y - outputs) ** 2 / (1.0 + y**2)),
        lambda y, outputs: keras.ops.mean(y**2 + outputs**2),
        lambda y, outputs: keras.ops.mean(keras.ops.abs(y - outputs) ** 0.0),
        lambda y, outputs: 1 / 0,
    ],
)
def test_a_loss_of_the_users_own_that_knows_ys_unit(loss):
    made, reason = unit(loss=loss)
    assert made is None
    assert "is bound to a unit" in reason


def test_the_unit_that_a_model_holds():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mean_absolute_error")
    assert unit_in(model, 2) is None
    scaled = add_unit(model, unit()[0])
    found = unit_in(scaled, 2)
    assert_allclose(found.scale, Y.std(axis=0))
    assert_allclose(found.gradient, 1.0)  # Of the loss that it has now.
    scaled.compile("sgd", "mean_absolute_percentage_error")
    assert_allclose(unit_in(scaled, 2).gradient, Y.std(axis=0))  # The true one.
