"""Outputs of a dense stack, fast for one row and for many, in NumPy.

Its layers are float64 matrix products: no call into tensorflow, and a row's result does
not depend on the rows beside it.
"""

import itertools
import math

import numpy as np
from scipy import sparse

from skann._data.feed import dense_rows
from skann._network.layer_functions import functions_of
from skann._runtime.threads import in_threads, one_blas_thread

# Bytes of the widest layer of the rows that go through a stack at a time: they stay in
# the processor's cache.
STACK_BYTES = 2**20

# Multiplications of a product which BLAS leaves to one thread, as it does all of one
# row. Larger ones it shares, and adds up in another order while a fit holds it at one.
_WORK_OF_ONE_THREAD = 2**17


def layers_of(description, parameters):
    """Return the layers of a dense stack, as ``functions_of`` takes them.

    Parameters
    ----------
    description : Description
    parameters : ndarray of shape (n_parameters,)
        Kernels and biases in turn.
    """
    parts = iter(description.views(parameters.astype(np.float64)))
    inputs, unit = description.inputs, description.unit
    layers = (
        []
        if inputs is None
        else [("clip", {**vars(inputs), "dtype": description.dtype})]
    )
    layers += [
        (
            "dense",
            {
                "kernel": next(parts),
                "bias": next(parts) if layer.use_bias else None,
                "activation": layer.activation,
            },
        )
        for layer in description.layers
    ]
    if unit is not None:
        layers.append(("rescaling", {"scale": unit.scale, "offset": unit.shift}))
    return layers


class Stack:
    """A dense stack as a function of rows.

    Parameters
    ----------
    layers : list of (str, dict)
        As ``functions_of`` takes them.
    row_shape : tuple of int
    """

    is_live = has_own_code = False

    def __init__(self, layers, row_shape):
        self._layers = functions_of(layers)
        kernels = [numbers["kernel"] for kind, numbers in layers if kind == "dense"]
        widest = max([int(np.prod(row_shape)), *(k.shape[1] for k in kernels)])
        self._size = rows_of(STACK_BYTES, 8 * widest)
        products = max((kernel.size for kernel in kernels), default=0)
        self._row_work = products * int(np.prod(row_shape[:-1]))

    def is_up_to_date(self):
        """Whether it computes what its model does: its parts say so."""
        return True

    def outputs(self, X):
        """Return the outputs for every row."""
        chunks = chunks_of(X.shape[0], self._size)
        if len(chunks) == 1:
            x = rows_in(X, slice(None), np.float64)
            if len(x) < 2 or len(x) * self._row_work <= _WORK_OF_ONE_THREAD:
                return self._run(x, np.empty)
            with one_blas_thread():
                return self._run(x, np.empty)

        def run(chunks):
            array = _TwoArrays()
            return [self._run(rows_in(X, c, np.float64), array).copy() for c in chunks]

        return np.concatenate(in_threads(run, chunks))

    def _run(self, x, array):
        for layer in self._layers:
            x = layer(x, array)
        return x


class _TwoArrays:
    """Gives out the same memory again and again: one layer's input, the next's output.

    Memory that is new to the process costs more than the arithmetic of a layer.
    """

    def __init__(self):
        self._this, self._other = np.empty(0), np.empty(0)

    def __call__(self, shape):
        self._this, self._other = self._other, self._this
        size = math.prod(shape)
        if self._this.size < size:
            self._this = np.empty(size)
        return self._this[:size].reshape(shape)


def rows_of(n_bytes, row_bytes):
    """Return how many rows of so many bytes fit, at least one."""
    return max(1, n_bytes // max(1, row_bytes))


def chunks_of(n_rows, most):
    """Return slices of about equal length, of so many rows at most."""
    n = max(1, -(-n_rows // most))
    edges = [n_rows * i // n for i in range(n + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


def rows_in(X, rows, dtype):
    """Return some rows of X, dense, of a type."""
    if isinstance(X, np.ndarray) and not sparse.issparse(X):
        return np.asarray(X[rows], dtype=dtype)
    return dense_rows(X, rows, dtype)
