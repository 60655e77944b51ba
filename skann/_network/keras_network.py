"""Outputs of a Keras model, fast for one row and for many.

Stacks of dense layers run in NumPy (``stack.py``). Every other network runs in
tensorflow, always in batches of the same shape, so that a row's result does not depend
on the rows beside it.
"""

import contextlib
import operator
import threading
from dataclasses import dataclass

import keras
import numpy as np

from skann._data.rows import check_fits
from skann._keras.ids import check_ids
from skann._keras.scopes import eagerly
from skann._keras.unit_layer import unit_layer
from skann._keras.variables import input_dtype, rows_dtype, values_of
from skann._network.layer_descriptions import dense_stack
from skann._network.stack import Stack, chunks_of, rows_in, rows_of
from skann._runtime.private import note_as_called
from skann._training.graph.forward import Forward

# Bytes of the rows that go through a network at a time.
CHUNK_BYTES = 8 * 2**20


class KerasNetwork:
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

    Attributes
    ----------
    model : keras.Model
    is_lent : bool
    """

    def __init__(self, model, is_lent=True):
        self.model = model
        self.is_lent = is_lent
        self._kept = None
        self._lock = threading.Lock()
        # The threads that train it, how often one has begun, and what its variables
        # held before the first of them did.
        self._changing, self._n_begun, self._before = [], 0, None

    def lend(self):
        """Return the model to someone who may change it."""
        self.is_lent = True
        if self.model.built:
            note_as_called(self.model)
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
        if kept is not None and not (is_live and kept.row_shape == row_shape):
            kept = None
        nobody_has_it = not self.is_lent and not self._changing
        if kept is not None and nobody_has_it and not kept.function.has_own_code:
            return kept.function
        values, n_begun, is_before = self._values()
        parts = _parts(self.model)
        is_live = is_live and not is_before
        if (
            kept is not None
            and is_live >= kept.function.is_live
            and kept.is_of(values, parts)
        ):
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
        return Stack(stack, row_shape)
    return _Batches(model, row_shape, None if is_live else values)


@dataclass(frozen=True)
class _Kept:
    """A function of rows, and what it is made of."""

    row_shape: tuple[int, ...]
    values: list[np.ndarray]
    parts: list[object]
    function: "Stack | _Batches"

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
        layers = [layer for layer in [unit_layer(model)] if layer is not None]
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
        self._size = rows_of(CHUNK_BYTES, 8 * int(np.prod(row_shape)))

    def outputs(self, X):
        """Return the outputs for every row."""
        dtype = self._forward.dtype
        chunks = chunks_of(X.shape[0], self._size)
        with eagerly():
            return np.concatenate([self._forward(rows_in(X, c, dtype)) for c in chunks])
