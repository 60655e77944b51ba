"""Validated training data, and which of its rows are used."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from skann._runtime.private import check_sample_weight


def check_numeric(values, name):
    """Raise ValueError for an array of anything but numbers, such as dates."""
    if values.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must hold numbers; its dtype is {values.dtype}. Encode it first, "
            "with OrdinalEncoder or OneHotEncoder for instance."
        )


_FLOATS = (np.dtype("float64"), np.dtype("float32"))


def needs_no_check(X, row_shape, largest):
    """Whether X is an array of such rows in which no check would find a fault.

    scikit-learn's validation takes as long as the network's outputs for a few rows.
    """
    if (
        type(X) is not np.ndarray
        or X.dtype not in _FLOATS
        or X.ndim < 2
        or X.shape[1:] != row_shape
        or not len(X)
    ):
        return False
    # Both are NaN where X has NaN, which is no part of any interval.
    least, most = np.minimum.reduce(X, axis=None), np.maximum.reduce(X, axis=None)
    return -largest <= float(least) and float(most) <= largest


def check_fits(X, dtype):
    """Raise ValueError where X has values that the network's type cannot hold."""
    values = X.data if sparse.issparse(X) else X
    least, most = _bounds(dtype)
    if are_floats(dtype):
        whole = values.dtype.kind != "f" and dtype != "float16"
        if whole or values.dtype.itemsize <= np.dtype(dtype).itemsize:
            return
    elif values.dtype.kind == "f" and not all(map(_are_whole, _chunks(values))):
        raise ValueError(f"Input X must hold whole numbers: the network takes {dtype}.")
    if values.size and not least <= values.min().item() <= values.max().item() <= most:
        raise ValueError(f"Input X contains values too large for {np.dtype(dtype)!r}.")


def exceeds_whole_numbers(X, dtype):
    """Whether X holds integers beyond those that a floating type holds all of."""
    values = X.data if sparse.issparse(X) else X
    if values.dtype.kind not in "iu" or not are_floats(dtype) or not values.size:
        return False
    most = 2**8 if dtype == "bfloat16" else 2 ** (np.finfo(dtype).nmant + 1)
    if np.iinfo(values.dtype).max <= most:
        return False
    return not -most <= values.min().item() <= values.max().item() <= most


def relative(weight):
    """Scale weights to 1 at most: only their ratios matter, and no sum overflows."""
    return weight / weight.max()


def are_floats(dtype):
    """Whether values of a network's type are floating-point numbers."""
    return "float" in dtype


def largest_of(dtype):
    """Return the largest number of a floating type; below 0 for any other type.

    There, more is to be looked at than how large a number is.
    """
    return _bounds(dtype)[1] if are_floats(dtype) else -1.0


def _bounds(dtype):
    if are_floats(dtype):
        most = _MOST_BFLOAT16 if dtype == "bfloat16" else float(np.finfo(dtype).max)
        return -most, most
    if dtype == "bool":
        return 0, 1
    try:
        return np.iinfo(dtype).min, np.iinfo(dtype).max
    except (ValueError, TypeError):
        raise ValueError(
            f"The network takes inputs of type {dtype!r}, and X holds numbers."
        ) from None


_MOST_BFLOAT16 = float.fromhex("0x1.fep127")


def _are_whole(values):
    return bool((values == np.trunc(values)).all())


def _chunks(values, n=2**20):
    """Yield parts of an array, which may be memory-mapped."""
    rows = max(1, n // max(1, math.prod(values.shape[1:])))
    return (values[start : start + rows] for start in range(0, len(values), rows))


def average_of_one(weight):
    """Scale weights to an average of 1, which leaves the loss in its usual unit."""
    return weight / weight.mean()


@dataclass
class Data:
    """Validated training data: X as given, and the rows of it that have weight.

    `y` and `sample_weight` belong to `rows`, not to all of X.
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    rows: np.ndarray
    validation: "Data | None" = None

    def part(self, positions):
        """Return some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[positions]
        return Data(self.X, self.y[positions], weight, self.rows[positions])

    @classmethod
    def weighted(cls, X, y, sample_weight):
        """Return the rows that have weight, with their targets and weights."""
        rows = np.arange(X.shape[0])
        if sample_weight is None:
            return cls(X, y, None, rows)
        weight = check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        if not weight.any():
            raise ValueError(
                "sample_weight is 0 for every row: there is nothing to fit."
            )
        weight = relative(weight)
        rows = np.flatnonzero(weight)
        return cls(X, y[rows], weight[rows], rows)
