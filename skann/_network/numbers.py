"""Numbers of any library as Python's own, which are what Keras takes."""

import math
from decimal import Decimal
from numbers import Rational, Real

import numpy as np

from skann._runtime.private import Interval


def plain(value):
    """Return a value in which numbers are Python's, also those in lists and dicts.

    NumPy's scalars and its arrays without dimensions, fractions and decimals are
    numbers. What the user gave stays as it is: containers are new ones.
    """
    if isinstance(value, np.generic) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype != object
    ):
        return value.item()
    if isinstance(value, (Decimal, Rational)) and not isinstance(value, int):
        return _as_float(value)
    if type(value) in (list, tuple, set):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {name: plain(part) for name, part in value.items()}
    return value


def _as_float(value):
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


class Number(Interval):
    """An interval in which numbers of any library may lie, Fraction and Decimal too."""

    def is_satisfied_by(self, val):
        """Whether a value is a number of this type in the interval."""
        val = plain(val)
        if self.type is Real and isinstance(val, int):
            val = _as_float(val)
        return super().is_satisfied_by(val)


def like(value, default):
    """Return a number as a parameter with such a default takes it.

    Keras asks some of its parameters to be a float, or an int, where the number alone
    would say the same.
    """
    value = plain(value)
    if isinstance(value, bool) or isinstance(default, bool):
        return value
    if isinstance(default, float) and isinstance(value, int):
        return _as_float(value)
    if isinstance(default, int) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
