"""What y asks of the network, and the way of a regressor's y there and back."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skann._data.targets import (
    TARGETS,
    RegressionTarget,
    asked_of_network,
    columns_of,
)
from skann._data.unit import Unit

UNIT = Unit(np.array([5.0]), np.array([2.0]), np.array([2.0]))


@pytest.mark.parametrize(
    ("kind", "loss", "units", "activation"),
    [
        ("regression", "mean_squared_error", None, None),
        ("binary", "binary_crossentropy", 1, "sigmoid"),
        ("multiclass", "sparse_categorical_crossentropy", None, "softmax"),
        ("multilabel-indicator", "binary_crossentropy", None, "sigmoid"),
    ],
)
def test_each_kind_has_its_loss_and_its_outputs(kind, loss, units, activation):
    assert TARGETS[kind].loss == loss
    assert asked_of_network(kind, loss, False, None) == (units, activation)


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        ("mean_absolute_error", None),
        ("poisson", "exponential"),
        ("binary_crossentropy", "sigmoid"),
        ("binary_focal_crossentropy", "sigmoid"),
        ("categorical_crossentropy", "softmax"),
        ("categorical_focal_crossentropy", "softmax"),
    ],
)
def test_a_regressor_has_the_outputs_that_its_loss_takes(loss, activation):
    assert asked_of_network("regression", loss, False, None) == (None, activation)


@pytest.mark.parametrize(
    ("loss", "output_activation"),
    [
        ("sparse_categorical_crossentropy", None),
        ("categorical_hinge", None),
        ("binary_crossentropy", "softmax"),
    ],
)
def test_two_classes_have_two_units_where_the_loss_compares_classes(
    loss, output_activation
):
    asked = asked_of_network("binary", loss, False, output_activation)
    assert asked == (2, "linear" if "hinge" in loss else "softmax")


@pytest.mark.parametrize("kind", TARGETS)
def test_logits_and_margins_are_linear(kind):
    loss = TARGETS[kind].loss
    assert asked_of_network(kind, loss, True, None)[1] == "linear"
    for loss in ("hinge", "squared_hinge"):
        assert asked_of_network(kind, loss, False, None)[1] == "linear"


@pytest.mark.parametrize("from_logits", [False, True])
def test_the_users_output_activation_comes_first(from_logits):
    for kind, target in TARGETS.items():
        asked = asked_of_network(kind, target.loss, from_logits, "tanh")
        assert asked == (target.units, "tanh")
    assert asked_of_network("regression", "poisson", from_logits, "relu")[1] == "relu"


def test_y_becomes_float64_columns():
    for y in ([1, 2, 3], np.array([1, 2, 3], "float32"), [[1], [2], [3]]):
        columns = columns_of(y)
        assert columns.dtype == np.float64
        assert_array_equal(columns, [[1.0], [2.0], [3.0]])
    assert columns_of([[1, 2], [3, 4]]).shape == (2, 2)


def test_y_there_and_back_has_its_shape():
    for y in (np.arange(3.0), np.arange(3.0)[:, None], np.arange(6.0).reshape(3, 2)):
        target = RegressionTarget(y.ndim, None)
        encoded = target.encode(y)
        assert encoded.ndim == 2
        decoded = target.decode(encoded)
        assert decoded.shape == y.shape
        assert_array_equal(decoded, y)


def test_several_outputs_for_a_single_y_stay_columns():
    outputs = np.arange(6.0).reshape(3, 2)
    assert_array_equal(RegressionTarget(1, None).decode(outputs), outputs)


def test_a_unit_asks_for_float64():
    assert RegressionTarget(1, None).dtype is None
    assert RegressionTarget(1, UNIT).dtype == "float64"
