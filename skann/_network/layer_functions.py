"""The layers of a dense stack as functions of rows, float64 in NumPy.

A layer is described by the name of its kind, a key of ``KINDS``, and its numbers.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from skann._data.input_scale import InputScale


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
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
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


def functions_of(layers):
    """Return the functions of layers that are described.

    Each takes float64 rows, and what makes a new array of a shape: ``np.empty``, say.

    Parameters
    ----------
    layers : list of (str, dict)
        Kind and arguments: arrays are float64.
    """
    return [KINDS[kind](**arguments) for kind, arguments in layers]


def _dense(kernel, bias, activation):
    activate = ACTIVATIONS[activation]

    def run(z, array):
        z = np.matmul(z, kernel, out=array((*z.shape[:-1], kernel.shape[1])))
        if bias is not None:
            z += bias
        return activate(z)

    return run


def _batch_normalization(mean, variance, gamma, beta, epsilon):
    scale = 1.0 / np.sqrt(variance + epsilon)
    if gamma is not None:
        scale *= gamma
    shift = -mean * scale
    if beta is not None:
        shift += beta
    return lambda z, array: z * scale + shift


def _layer_normalization(gamma, beta, epsilon):
    gamma = 1.0 if gamma is None else gamma
    beta = 0.0 if beta is None else beta

    def run(z, array):
        mean = z.mean(axis=-1, keepdims=True)
        variance = z.var(axis=-1, keepdims=True)
        return (z - mean) / np.sqrt(variance + epsilon) * gamma + beta

    return run


def _activation(activation):
    activate = ACTIVATIONS[activation]
    # These may be the caller's rows.
    return lambda z, array: activate(np.array(z))


def _clip(scale, offset, dtype):
    # As the network takes the rows: a median may be large beside what dtype can tell.
    scaled = InputScale(scale, offset).applied
    return lambda z, array: scaled(
        z.astype(dtype, copy=False).astype(np.float64, copy=False)
    )


def _rescaling(scale, offset):
    return lambda z, array: z * scale + offset


def _flat():
    return lambda z, array: z.reshape(len(z), -1)


def _same():
    return lambda z, array: z


KINDS: dict[str, Callable[..., Callable[..., np.ndarray]]] = {
    "dense": _dense,
    "batch_normalization": _batch_normalization,
    "layer_normalization": _layer_normalization,
    "activation": _activation,
    "clip": _clip,
    "rescaling": _rescaling,
    "flatten": _flat,
    "same": _same,
}
