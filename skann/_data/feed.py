"""Rows -> chunks of batches, of dense, sparse and memory-mapped X."""

import copy

import numpy as np
from scipy import sparse

# Rows are handed over some megabytes at a time: enough steps that a chunk's overhead is
# small beside its arithmetic, and little enough that padding a chunk costs nothing.
_CHUNK_BYTES = 2 * 2**20
_ENOUGH_STEPS, MOST_STEPS = 32, 512
_MOST_BYTES = 8 * 2**20

# What is no larger is brought to the network's type once rather than in every epoch.
SMALL_BYTES = 32 * 2**20


class Feed:
    """Some rows of X with their targets and weights, in any order, a chunk at a time.

    Parameters
    ----------
    X : ndarray, memmap or CSR matrix of shape (n, ...)
        Never copied or densified as a whole, but for small arrays in memory.
    y : ndarray of shape (n_rows, n_outputs)
        Encoded targets of the rows.
    sample_weight : ndarray of shape (n_rows,) or None
    rows : ndarray of shape (n_rows,) or None
        The rows of X that are used; None uses all.
    dtype : str
        Floating type of the model's variables.
    y_dtype : str, default=None
        Type of the targets, if it is another.
    rows_dtype : str, default=None
        Type in which the model takes rows, if it is another.
    """

    def __init__(
        self,
        X,
        y,
        sample_weight=None,
        rows=None,
        dtype="float32",
        y_dtype=None,
        rows_dtype=None,
    ):
        self.dtype = np.dtype(dtype)
        self.rows_dtype = np.dtype(rows_dtype or dtype)
        self.X, self.rows = _at_hand(X, rows, self.rows_dtype)
        # Class numbers stay integers, everything else takes the model's type.
        self.y = y if y.dtype.kind == "i" else y.astype(y_dtype or dtype, copy=False)
        self.sample_weight = (
            None
            if sample_weight is None
            else sample_weight.astype(self.dtype, copy=False)
        )

    def __len__(self):
        return len(self.y)

    @property
    def row_shape(self):
        """Shape of one row of X."""
        return self.X.shape[1:]

    @property
    def row_bytes(self):
        """Bytes of one dense row, in the type of the network's input."""
        return max(1, self.rows_dtype.itemsize * int(np.prod(self.row_shape)))

    def take(self, positions):
        """Return x and y of the rows at `positions`, and weights if there are any."""
        rows = positions if self.rows is None else self.rows[positions]
        x, y = dense_rows(self.X, rows, self.rows_dtype), self.y.take(positions, axis=0)
        if self.sample_weight is None:
            return x, y
        return x, y, self.sample_weight[positions]

    def with_targets(self, y):
        """Return the same rows with other targets, in the type of the variables."""
        feed = copy.copy(self)
        feed.y = y.astype(self.dtype, copy=False)
        return feed

    def steps_per_chunk(self, batch_size):
        """Return how many batches of these rows make a chunk."""
        step_bytes = max(1, batch_size * self.row_bytes)
        enough = min(_ENOUGH_STEPS, _MOST_BYTES // step_bytes)
        return min(max(_CHUNK_BYTES // step_bytes, enough, 1), MOST_STEPS)


def _at_hand(X, rows, dtype):
    """Return a small array's rows in the type and order that every epoch wants."""
    small = not sparse.issparse(X) and X.size * dtype.itemsize <= SMALL_BYTES
    if not small or isinstance(X, np.memmap):
        return X, rows
    rows = slice(None) if rows is None else rows
    return np.ascontiguousarray(X[rows], dtype=dtype), None


def dense_rows(X, rows, dtype):
    """Return the given rows of X as a dense, contiguous array of `dtype`."""
    if sparse.issparse(X):
        x = X[rows].toarray()
    elif X.flags.c_contiguous:  # Several times as fast; of others it would take a copy.
        x = X.take(rows, axis=0)
    else:
        x = X[rows]
    return np.ascontiguousarray(x, dtype=dtype)
