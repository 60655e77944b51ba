"""Whether a parameter is still what it was."""

from collections.abc import Mapping
from numbers import Number

import numpy as np


def same(value, other):
    """Whether two values of a parameter ask for the same.

    A list, a tuple and an array of equal numbers do, and so do a number and NumPy's.
    """
    value, other = _plain(value), _plain(other)
    if value is other:
        return True
    if isinstance(value, np.ndarray) and isinstance(other, np.ndarray):
        return value.dtype.kind == other.dtype.kind and np.array_equal(value, other)
    if _is_sequence(value) and _is_sequence(other):
        return len(value) == len(other) and all(map(same, value, other))
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(
            same(value[name], other[name]) for name in value
        )
    if _is_number(value) and _is_number(other):
        return bool(value == other)
    try:
        return type(value) is type(other) and bool(value == other)
    except (ValueError, TypeError):  # What is compared element by element.
        return False


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def _is_sequence(value):
    is_array = isinstance(value, np.ndarray) and value.ndim > 0
    return is_array or isinstance(value, (list, tuple, range))


def _is_number(value):
    # True is no 1: a parameter may take both, for two things.
    return isinstance(value, Number) and not isinstance(value, bool)


def snapshot(value):
    """Return a value that does not change with the user's list, dict or array."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(map(snapshot, value))
    if type(value) is dict:
        return {name: snapshot(part) for name, part in value.items()}
    return value
