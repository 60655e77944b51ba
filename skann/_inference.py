"""Outputs of a trained network, fast for one row and for many.

Stacks of dense layers are run as float64 matrix products with NumPy: no call into
tensorflow, and a row's result does not depend on the rows beside it. Every other
network runs in tensorflow, always in batches of the same shape, for the same reason.
"""

import contextlib
import itertools
import math
import threading
from dataclasses import dataclass

import keras
import numpy as np
from scipy import sparse, special

from skann.training import Forward, input_dtype, read, weights_of
from skann.training._feed import dense_rows
from skann.training._threads import in_threads, one_blas_thread

# Bytes of the rows that go through a network at a time: those of the widest layer of a
# stack stay in the processor's cache.
_CHUNK_BYTES = 8 * 2**20
_STACK_BYTES = 2**20

# Multiplications of a product which BLAS leaves to one thread, as it does all of one
# row. Larger ones it shares, and adds up in another order while a fit holds it at one.
_WORK_OF_ONE_THREAD = 2**17


def _relu(z):
    return np.maximum(z, 0.0, out=z)


def _sigmoid(z):
    return special.expit(z, out=z)


def _tanh(z):
    return np.tanh(z, out=z)


def _softmax(z):
    z -= z.max(axis=-1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=-1, keepdims=True)
    return z


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _elu(z, alpha=1.0):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0)))


# Keras' activations by name, on float64 arrays, in which some work in place.
_ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": _relu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "softmax": _softmax,
    "softplus": lambda z: np.logaddexp(z, 0.0),
    "exponential": np.exp,
    "elu": _elu,
    "selu": lambda z: _SELU_SCALE * _elu(z, _SELU_ALPHA),
    "silu": lambda z: z * special.expit(z),
    "gelu": lambda z: 0.5 * z * (1.0 + special.erf(z / np.sqrt(2.0))),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.2 * z),
}


def _dense(layer):
    bias = _array(layer.bias) if layer.use_bias else None
    return _dense_function(_array(layer.kernel), bias, layer.activation.__name__)


def _dense_function(kernel, bias, activation):
    activate = _ACTIVATIONS[activation]

    def run(z, array):
        z = np.matmul(z, kernel, out=array((*z.shape[:-1], kernel.shape[1])))
        if bias is not None:
            z += bias
        return activate(z)

    return run


def _batch_normalization(layer):
    scale = 1.0 / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale *= _array(layer.gamma)
    shift = -_array(layer.moving_mean) * scale
    if layer.center:
        shift += _array(layer.beta)
    return lambda z, array: z * scale + shift


def _layer_normalization(layer):
    gamma = _array(layer.gamma) if layer.scale else 1.0
    beta = _array(layer.beta) if layer.center else 0.0

    def run(z, array):
        mean = z.mean(axis=-1, keepdims=True)
        variance = z.var(axis=-1, keepdims=True)
        return (z - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta

    return run


def _activation(layer):
    activate = _ACTIVATIONS[layer.activation.__name__]
    # These may be the caller's rows.
    return lambda z, array: activate(np.array(z))


def _array(variable):
    return read([variable._value])[0].astype(np.float64)


def _rescaling(layer):
    scale, offset = (np.asarray(x, np.float64) for x in (layer.scale, layer.offset))
    return lambda z, array: z * scale + offset


def _flat(layer):
    return lambda z, array: z.reshape(len(z), -1)


def _same(layer):
    return lambda z, array: z


_LAYERS = {
    keras.layers.InputLayer: _same,
    keras.layers.Dropout: _same,
    keras.layers.Flatten: _flat,
    keras.layers.Rescaling: _rescaling,
    keras.layers.Dense: _dense,
    keras.layers.Activation: _activation,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.LayerNormalization: _layer_normalization,
}


def _is_plain(layer):
    """Whether a layer is one of those above with nothing out of the ordinary."""
    if type(layer) not in _LAYERS or layer.compute_dtype not in ("float32", "float64"):
        return False
    if isinstance(layer, (keras.layers.Dense, keras.layers.Activation)):
        function = layer.activation
        keras_own = getattr(keras.activations, getattr(function, "__name__", ""), None)
        return function is keras_own and function.__name__ in _ACTIVATIONS
    if isinstance(
        layer, (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
    ):
        return layer.axis in (-1, [-1])
    return True


def dense_stack(model):
    """Return the layers as functions, or None for no stack.

    Each takes float64 rows, and what makes a new array of a shape: ``np.empty``, say.
    """
    if type(model) is not keras.Sequential or not all(map(_is_plain, model.layers)):
        return None
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if any(layer.lora_enabled or layer.quantization_mode for layer in kernels):
        return None
    return [_LAYERS[type(layer)](layer) for layer in model.layers]


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
    layers = list(map(_dense_function, weights[::2], weights[1::2], names))
    unit = description.unit
    if unit is not None:
        layers.append(lambda z, array: z * unit.scale + unit.shift)
    return _Stack(layers, (description.layers[0].n_inputs,), weights)


class Network:
    """A trained model as a function of rows.

    What is made of the model's weights is kept between calls. Once somebody else has
    the model, they are looked at in every call all the same: they are his to change.

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
        self._n_changing = self._n_changes = 0
        self._kept, self._keeping = None, threading.Lock()

    def lend(self):
        """Return the model to someone who may change it."""
        self._is_lent = True
        return self.model

    @contextlib.contextmanager
    def changing(self):
        """Allow for other weights at any time while the block runs."""
        with self._keeping:
            self._n_changing += 1
        try:
            yield
        finally:
            with self._keeping:
                self._n_changing -= 1
                self._n_changes += 1
                self._kept = None

    @property
    def input_dtype(self):
        """Type in which rows and targets are given to the network."""
        return input_dtype(self.model)

    def outputs(self, X):
        """Return the outputs for every row, of shape (n, n_outputs), float64.

        Parameters
        ----------
        X : ndarray, memmap or CSR matrix of shape (n, ...)
            Read a chunk at a time.
        """
        return self._function(X.shape[1:]).outputs(X)

    def _function(self, row_shape):
        kept, n_changes = self._kept, self._n_changes
        same_rows = kept is not None and kept.row_shape == row_shape
        if same_rows and not self._is_lent and not self._n_changing:
            return kept.function
        weights = weights_of(self.model)
        # tensorflow gives a variable other memory when it changes it, for as long as an
        # array holds on to what it had.
        made_of = [*_addresses(weights), *_activations(self.model)]
        if same_rows and kept.made_of == made_of:
            return kept.function
        stack = dense_stack(self.model)
        if stack is None:
            run = _Batches(self.model, row_shape)
        else:
            run = _Stack(stack, row_shape, weights)
        with self._keeping:
            # Unless another thread may have changed the weights meanwhile.
            if self._n_changes == n_changes and not self._n_changing:
                self._kept = _Kept(row_shape, weights, made_of, run)
        return run


@dataclass(frozen=True)
class _Kept:
    """A function of rows, and what it is made of."""

    row_shape: tuple
    weights: list
    made_of: list
    function: object


def _activations(model):
    """Return the activations of a stack's layers, which can be set to others."""
    layers = model.layers if type(model) is keras.Sequential else []
    return [getattr(layer, "activation", None) for layer in layers]


def _addresses(arrays):
    return [array.__array_interface__["data"][0] for array in arrays]


class _Batches:
    """A network that runs in tensorflow."""

    def __init__(self, model, row_shape):
        self._forward = Forward(model, row_shape)
        self._size = _rows_of(_CHUNK_BYTES, 8 * int(np.prod(row_shape)))

    def outputs(self, X):
        """Return the outputs for every row."""
        dtype = self._forward.dtype
        chunks = _chunks(X.shape[0], self._size)
        return np.concatenate([self._forward(_rows(X, c, dtype)) for c in chunks])


class _Stack:
    """A dense stack, with its layers as ``dense_stack`` returns them."""

    def __init__(self, layers, row_shape, weights):
        self._layers = layers
        widest = max([int(np.prod(row_shape)), *(w.shape[-1] for w in weights)])
        self._size = _rows_of(_STACK_BYTES, 8 * widest)
        products = max((w.size for w in weights if w.ndim > 1), default=0)
        self._row_work = products * int(np.prod(row_shape[:-1]))

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
