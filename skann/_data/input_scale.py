"""How columns of X are brought to a common range, learned from the training rows.

By their medians and quartiles, which a far-out value does not move, and then smoothly
to between -3 and 3, so that it does not move the network either.

References
----------
D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned MLPs
and Boosted Trees on Tabular Data", NeurIPS 2024: robust scaling and a smooth clip. Its
clip is z / sqrt(1 + (z / 3)**2); 3 tanh(z / 3) is one of Keras' own functions, and did
as well.
"""

from dataclasses import dataclass

import numpy as np

from skann._data.feed import dense_rows

# The range is from minus to plus this.
BOUND = 3.0

# Quartiles are those of no more numbers than these, or rows, drawn: more would not move
# them.
_MOST_NUMBERS, _ENOUGH_ROWS = 2**22, 1000

# The quantiles are sums of weights that are rounded.
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class InputScale:
    """What brings columns of X to a common range.

    Attributes
    ----------
    scale, offset : ndarray of shape (n_columns,), dtype=float64
        A column x becomes 3 tanh(x * scale + offset).
    """

    scale: np.ndarray
    offset: np.ndarray

    def applied(self, x):
        """Return rows in the range, of the type of `x`, as the Keras layers do it."""
        with np.errstate(over="ignore"):  # What is infinite is at the bound.
            z = (x * self.scale + self.offset).astype(x.dtype, copy=False)
        np.tanh(z, out=z)
        z *= x.dtype.type(BOUND)
        return z


def learn_input_scale(X, rows, sample_weight, are_all=True):
    """Return how the columns of X are scaled (InputScale).

    A column is centred at its median and divided by the distance of its quartiles;
    where that is 0, by half of its range. One of equal values becomes 0. It stays what
    it is as long as that is small: 3 tanh(z / 3) is z then.

    Parameters
    ----------
    X : ndarray, memmap or CSR matrix of shape (n, n_columns)
    rows : ndarray of int of shape (n_rows,)
        The training rows.
    sample_weight : ndarray of shape (n_rows,) or None
        A row of weight 2 counts as two.
    are_all : bool, default=True
        Whether these are all rows there will be. Where more will come, a column of
        equal values is centred only.
    """
    some = _looked_at(len(rows), max(_ENOUGH_ROWS, _MOST_NUMBERS // X.shape[1]))
    weight = None if sample_weight is None else sample_weight[some]
    values = dense_rows(X, rows[some], np.float64)
    low, first, median, third, high = _quantiles(
        values, weight, (0, 0.25, 0.5, 0.75, 1)
    )
    scale = np.where(_differ(first, third), 1.0, 0.0) * _inverse(third - first)
    by_range = np.where(_differ(low, high), 2.0, 0.0) * _inverse(high - low)
    scale = np.where(scale > 0, scale, by_range)
    if not are_all:
        scale = np.where(scale > 0, scale, 1.0)
    scale = scale / BOUND
    return InputScale(scale, -median * scale)


def _looked_at(n_rows, most):
    """Return positions of rows: all of them, or some, always the same."""
    if n_rows <= most:
        return slice(None)
    # Evenly spaced ones might fall in step with the rows.
    some = np.random.default_rng(0).choice(n_rows, most, replace=False, shuffle=False)
    return np.sort(some)


def _quantiles(values, weight, at):
    """Return quantiles of the columns, each a value that is there."""
    if weight is None:
        values = np.sort(values, axis=0)
        n = len(values)
        return [values[max(0, int(np.ceil(q * n * (1 - _ROUNDING))) - 1)] for q in at]
    order = np.argsort(values, axis=0)
    values = np.take_along_axis(values, order, axis=0)
    below = np.cumsum(weight[order], axis=0)
    counts = [(below < q * (1 - _ROUNDING) * below[-1]).sum(axis=0) for q in at]
    return [np.take_along_axis(values, count[None], axis=0)[0] for count in counts]


def _differ(low, high):
    """Whether numbers differ by more than they are rounded."""
    largest = np.maximum(np.abs(low), np.abs(high))
    return high - low > 10 * np.finfo(np.float64).eps * largest


def _inverse(difference):
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1.0 / difference
    return np.where(np.isfinite(inverse), inverse, 0.0)
