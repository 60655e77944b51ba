"""What a change of y's unit does to a loss, and so how y is normalised for training.

A loss of degree p is multiplied by k**p where y and its prediction are multiplied by k,
and does not change where both are shifted. Divided by a deviation to the power of p, it
is the loss of a normalised y.
"""

import math
from dataclasses import replace

import numpy as np

from skann._data.unit import Unit
from skann._keras.names import canonical_name, is_keras_loss
from skann._runtime.private import settings_of
from skann._runtime.start import keras_setting, with_keras

# Outputs that may be shifted and scaled; and those which may be scaled, for f(x) >= 0.
_LINES = {None, "linear"}
_HALF_LINES = {"relu", "softplus", "exponential"}

_DEGREES = {"mean_squared_error": 2.0, "mean_absolute_error": 1.0}


def learn_unit(y, sample_weight, loss, output_activation, n_units):
    """Return the unit of y for a network, and why it has none if it has none.

    Parameters
    ----------
    y : ndarray of shape (n, n_columns), dtype=float64
    sample_weight : ndarray of shape (n,) or None
    loss : keras.losses.Loss, class of these, callable or str
        What the network was compiled with.
    output_activation : str
        Keras' name.
    n_units : int
        Outputs of the network: as many as columns of y, or several for a single one.

    Returns
    -------
    unit : Unit or None
    reason : str or None
    """
    if output_activation not in _LINES | _HALF_LINES:
        return None, f"an output activation of {output_activation!r} is bound to a unit"
    if n_units > 1 and keras_setting("image_data_format") == "channels_first":
        return None, "Keras rescales images then, not columns: 'channels_first' is set"
    degree = _degree(loss, y.shape[1], n_units)
    if degree is None:
        return None, f"loss={canonical_name(loss)!r} is bound to a unit"
    mean, scale = moments(y, sample_weight)
    if output_activation in _HALF_LINES:
        mean = np.zeros_like(mean)
    if not is_keras_loss(loss):
        # Its columns may be anything but a sum: one scale for them all is exact.
        scale[:] = math.sqrt(np.mean((scale / scale.max()) ** 2)) * scale.max()
    if len(mean) != n_units:
        mean, scale = np.repeat(mean, n_units), np.repeat(scale, n_units)
    return Unit(mean, scale, degree(scale)), None


def unit_in(model, n_columns):
    """Return the unit that a model's last layer holds, for the loss that it has now.

    None where it has no such layer. Where the loss is bound to a unit, gradients are
    the true ones.
    """
    unit = with_keras().unit_of(model)
    if unit is None:
        return None
    degree = _degree(model.loss, n_columns, len(unit.scale))
    return unit if degree is None else replace(unit, gradient=degree(unit.scale))


def _degree(loss, n_columns, n_units):
    """Return the factor of gradients as a function of the scale, or None."""
    name = canonical_name(loss)
    if not is_keras_loss(loss):
        power = _power(loss, n_columns, n_units)
    elif name in ("huber", "log_cosh"):
        # Quadratic up to a distance, linear beyond it.
        bend = settings_of(loss).get("delta", 1.0)
        return lambda scale: 1.0 / np.minimum(scale, bend)
    else:
        power = _DEGREES.get(name)
    return None if power is None else lambda scale: scale ** (1.0 - power)


# Far enough that a loss which changes somewhere between is found out.
_FACTORS, _SHIFT = (1e-3, 1e3), 10.0


def _power(loss, n_columns, n_units):
    """Return the degree of a loss of the user's own by trying it, or None."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(16, n_columns))
    outputs = rng.normal(size=(16, n_units))

    value = with_keras().value_of(loss)

    try:
        here = value(y, outputs)
        ratios = [value(k * y, k * outputs) / here for k in _FACTORS]
        shifted = value(y + _SHIFT, outputs + _SHIFT)
    except Exception:  # The user's code: what it needs is not known here.
        return None
    if not all(math.isfinite(x) and x > 0 for x in ratios):
        return None
    powers = [math.log(x, k) for x, k in zip(ratios, _FACTORS, strict=True)]
    same = math.isclose(*powers, rel_tol=1e-3) and math.isclose(
        here, shifted, rel_tol=1e-3
    )
    return round(powers[0], 2) if same and powers[0] > 0.01 else None


def moments(columns, sample_weight):
    """Return mean and standard deviation of each column; 1 for that of a constant.

    Parameters
    ----------
    columns : ndarray of shape (n, n_columns), dtype=float64
    sample_weight : ndarray of shape (n,) or None
    """
    # In units of the largest value, so that no square overflows.
    largest = np.abs(columns).max(axis=0)
    largest[largest == 0] = 1.0
    relative = columns / largest
    mean = np.average(relative, axis=0, weights=sample_weight)
    variance = np.average((relative - mean) ** 2, axis=0, weights=sample_weight)
    deviation = np.sqrt(variance) * largest
    constant = np.sqrt(variance) <= 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean * largest, np.where(constant, 1.0, deviation)
