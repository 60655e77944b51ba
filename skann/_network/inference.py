"""Outputs of a trained network, fast for one row and for many.

Stacks of dense layers are run as float64 matrix products with NumPy: no call into
tensorflow, and a row's result does not depend on the rows beside it. Every other
network runs in tensorflow, always in batches of the same shape, for the same reason.
"""

import contextlib
import functools
import itertools
import math
import operator
import threading
from dataclasses import dataclass

import keras
import numpy as np
from scipy import sparse

from skann._data.feed import dense_rows
from skann._data.rows import check_fits, largest_of
from skann._network.ids import check_ids
from skann._network.layer_functions import dense_function, dense_stack
from skann._network.unit import unit_layer
from skann._runtime.scopes import eagerly
from skann._runtime.threads import in_threads, one_blas_thread
from skann._training.graph.forward import Forward
from skann._training.graph.variables import input_dtype, rows_dtype, values_of

# Bytes of the rows that go through a network at a time: those of the widest layer of a
# stack stay in the processor's cache.
_CHUNK_BYTES = 8 * 2**20
_STACK_BYTES = 2**20

# Multiplications of a product which BLAS leaves to one thread, as it does all of one
# row. Larger ones it shares, and adds up in another order while a fit holds it at one.
_WORK_OF_ONE_THREAD = 2**17


def described_stack(description, parameters):
    """Return what gives the outputs of a stack that is described, for rows.

    Parameters
    ----------
    description : Description
    parameters : ndarray of shape (n_parameters,)
        Kernels and biases in turn.
    """
    weights = description.views(parameters.astype(np.float64))
    names = [layer.activation for layer in description.layers]
    layers = list(map(dense_function, weights[::2], weights[1::2], names))
    unit = description.unit
    if unit is not None:
        layers.append(lambda z, array: z * unit.scale + unit.shift)
    return _Stack(layers, (description.layers[0].n_inputs,), weights)


class Network:
    """A trained model as a function of rows.

    What is made of the model's weights is kept between calls. Once somebody else has
    the model, they are looked at in every call all the same: they are his to change.
    While a thread trains the model, others are given outputs by its former weights.

    Parameters
    ----------
    model : keras.Model
        With a single input and a single output.
    is_lent : bool, default=True
        Whether others may have it already.
    """

    def __init__(self, model, is_lent=True):
        self.model = model
        self._is_lent = is_lent
        self._kept = None
        self._lock = threading.Lock()
        # The threads that train it, how often one has begun, and what its variables
        # held before the first of them did.
        self._changing, self._n_begun, self._before = [], 0, None

    def lend(self):
        """Return the model to someone who may change it."""
        self._is_lent = True
        if self.model.built:
            # For Keras, a model that was never called cannot be exported: a shape for
            # its inputs might be missing. That of one which is built is known.
            self.model._called = True
        return self.model

    @contextlib.contextmanager
    def changing(self):
        """Allow for other weights at any time while the block runs."""
        thread = threading.get_ident()
        with self._lock:
            if not self._changing:
                self._before = values_of(self.model)
            self._changing.append(thread)
            self._n_begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._changing.remove(thread)
                self._kept = None
                if not self._changing:
                    self._before = None

    @property
    def input_dtype(self):
        """Floating type in which targets and weights are given to the network."""
        return input_dtype(self.model)

    @property
    def rows_dtype(self):
        """Type in which rows are given to the network."""
        return rows_dtype(self.model)

    @functools.cached_property
    def largest(self):
        """The largest number in X that needs no look at its type."""
        return largest_of(self.rows_dtype)

    def check(self, X):
        """Raise ValueError where X has values that the network cannot be fed."""
        dtype = self.rows_dtype
        check_fits(X, dtype)
        check_ids(X, self.model, dtype)

    def outputs(self, X):
        """Return the outputs for every row, of shape (n, n_outputs), float64.

        All of them by weights of one moment, whatever other threads do.

        Parameters
        ----------
        X : ndarray, memmap or CSR matrix of shape (n, ...)
            Read a chunk at a time.
        """
        n_begun = self._n_begun
        function = self._function(X.shape[1:])
        outputs = function.outputs(X)
        if function.is_live and self._n_begun != n_begun:
            # Training has begun meanwhile: these may be by weights old and new.
            return self._function(X.shape[1:], is_live=False).outputs(X)
        return outputs

    def _function(self, row_shape, is_live=True):
        kept = self._kept
        same_rows = is_live and kept is not None and kept.row_shape == row_shape
        nobody_has_it = not self._is_lent and not self._changing
        if same_rows and nobody_has_it and not kept.function.has_own_code:
            return kept.function
        values, n_begun, is_before = self._values()
        parts = _parts(self.model)
        is_live = is_live and not is_before
        if same_rows and is_live >= kept.function.is_live and kept.is_of(values, parts):
            return kept.function
        function = _function_of(self.model, values, row_shape, is_live)
        with self._lock:
            # Unless another thread trains, or has trained meanwhile.
            if self._n_begun == n_begun and not self._changing and is_live:
                self._kept = _Kept(row_shape, values, parts, function)
        return function

    def _values(self):
        """Return values of the variables, all of one moment, and which moment it is."""
        with self._lock:
            others = any(t != threading.get_ident() for t in self._changing)
            values = self._before if others else values_of(self.model)
            return values, self._n_begun, others


def _function_of(model, values, row_shape, is_live):
    by_variable = dict(zip(map(id, model.variables), values, strict=True))
    stack = dense_stack(model, lambda v: by_variable[id(v)].astype(np.float64))
    if stack is not None:
        return _Stack(stack, row_shape, values)
    return _Batches(model, row_shape, None if is_live else values)


@dataclass(frozen=True)
class _Kept:
    """A function of rows, and what it is made of."""

    row_shape: tuple
    values: list
    parts: list
    function: object

    def is_of(self, values, parts):
        """Whether a model that has these values and parts computes the same."""
        # tensorflow gives a variable other memory when it changes it, for as long as an
        # array holds on to what it had.
        return (
            len(parts) == len(self.parts)
            and all(map(operator.is_, parts, self.parts))
            and _addresses(values) == _addresses(self.values)
            and self.function.is_up_to_date()
        )


def _parts(model):
    """Return the layers of a stack, or of y's unit, and all that they hold."""
    if type(model) is keras.Sequential:
        layers = [model, *model.layers]
    else:
        layers = filter(None, [unit_layer(model)])
    parts = []
    for layer in layers:
        parts += [layer, type(layer).call, *vars(layer).values()]
    return parts


def _addresses(arrays):
    return [array.__array_interface__["data"][0] for array in arrays]


class _Batches:
    """A network that runs in tensorflow.

    By the variables themselves, or by values that they had.
    """

    def __init__(self, model, row_shape, values=None):
        self.is_live = values is None
        with eagerly():
            self._forward = Forward(model, row_shape, values)
        self.has_own_code = self._forward.has_own_code
        self.is_up_to_date = self._forward.is_up_to_date
        self._size = _rows_of(_CHUNK_BYTES, 8 * int(np.prod(row_shape)))

    def outputs(self, X):
        """Return the outputs for every row."""
        dtype = self._forward.dtype
        chunks = _chunks(X.shape[0], self._size)
        with eagerly():
            return np.concatenate([self._forward(_rows(X, c, dtype)) for c in chunks])


class _Stack:
    """A dense stack, with its layers as ``dense_stack`` returns them."""

    is_live = has_own_code = False

    def __init__(self, layers, row_shape, values):
        self._layers = layers
        widths = [value.shape[-1] for value in values if value.ndim]
        widest = max([int(np.prod(row_shape)), *widths])
        self._size = _rows_of(_STACK_BYTES, 8 * widest)
        products = max((w.size for w in values if w.ndim > 1), default=0)
        self._row_work = products * int(np.prod(row_shape[:-1]))

    def is_up_to_date(self):
        """Whether it computes what its model does: its parts say so."""
        return True

    def outputs(self, X):
        """Return the outputs for every row."""
        chunks = _chunks(X.shape[0], self._size)
        if len(chunks) == 1:
            x = _rows(X, slice(None), np.float64)
            if len(x) < 2 or len(x) * self._row_work <= _WORK_OF_ONE_THREAD:
                return self._run(x, np.empty)
            with one_blas_thread():
                return self._run(x, np.empty)

        def run(chunks):
            array = _TwoArrays()
            return [self._run(_rows(X, c, np.float64), array).copy() for c in chunks]

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


def _rows_of(n_bytes, row_bytes):
    return max(1, n_bytes // max(1, row_bytes))


def _chunks(n_rows, most):
    """Return slices of about equal length, of so many rows at most."""
    n = max(1, -(-n_rows // most))
    edges = [n_rows * i // n for i in range(n + 1)]
    return [slice(*edge) for edge in itertools.pairwise(edges)]


def _rows(X, rows, dtype):
    if isinstance(X, np.ndarray) and not sparse.issparse(X):
        return np.asarray(X[rows], dtype=dtype)
    return dense_rows(X, rows, dtype)
