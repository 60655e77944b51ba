"""Validated training data, and which of its rows are used."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import _check_sample_weight


def check_numeric(values, name):
    """Raise ValueError for an array of anything but numbers, such as dates."""
    if values.dtype.kind not in "buif":
        raise ValueError(
            f"{name} must hold numbers; its dtype is {values.dtype}. Encode it first, "
            "with OrdinalEncoder or OneHotEncoder for instance."
        )


_FLOATS = (np.dtype("float64"), np.dtype("float32"))


def is_plain(X, row_shape):
    """Whether X is an array of such rows in which scikit-learn would find no fault.

    Its validation takes as long as the network's outputs for a few rows.
    """
    return (
        type(X) is np.ndarray
        and X.dtype in _FLOATS
        and X.ndim > 1
        and X.shape[1:] == row_shape
        and len(X) > 0
        and bool(np.isfinite(X).all())
    )


def check_fits(X, dtype):
    """Raise ValueError where X has values that the network's type cannot hold."""
    values = X.data if sparse.issparse(X) else X
    if values.dtype.kind != "f" or values.dtype.itemsize <= np.dtype(dtype).itemsize:
        return
    limit = np.finfo(dtype).max
    if values.size and (values.max() > limit or values.min() < -limit):
        raise ValueError(f"Input X contains values too large for {np.dtype(dtype)!r}.")


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
        weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        rows = np.flatnonzero(weight)
        if not len(rows):
            raise ValueError(
                "sample_weight is 0 for every row: there is nothing to fit."
            )
        # No sum of weights overflows; only their ratios matter.
        return cls(X, y[rows], weight[rows] / weight.max(), rows)
