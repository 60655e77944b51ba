"""The layers of a dense stack as functions of rows, float64 in NumPy."""

import keras
import numpy as np
from scipy import special

from skann._network.layers import is_keras_activation
from skann._training.fingerprint.libraries import is_as_made


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
ACTIVATIONS = {
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


def _dense(layer, array_of):
    bias = array_of(layer.bias) if layer.use_bias else None
    return dense_function(array_of(layer.kernel), bias, layer.activation.__name__)


def dense_function(kernel, bias, activation):
    """Return a dense layer as a function."""
    activate = ACTIVATIONS[activation]

    def run(z, array):
        z = np.matmul(z, kernel, out=array((*z.shape[:-1], kernel.shape[1])))
        if bias is not None:
            z += bias
        return activate(z)

    return run


def _batch_normalization(layer, array_of):
    scale = 1.0 / np.sqrt(array_of(layer.moving_variance) + layer.epsilon)
    if layer.scale:
        scale *= array_of(layer.gamma)
    shift = -array_of(layer.moving_mean) * scale
    if layer.center:
        shift += array_of(layer.beta)
    return lambda z, array: z * scale + shift


def _layer_normalization(layer, array_of):
    gamma = array_of(layer.gamma) if layer.scale else 1.0
    beta = array_of(layer.beta) if layer.center else 0.0

    def run(z, array):
        mean = z.mean(axis=-1, keepdims=True)
        variance = z.var(axis=-1, keepdims=True)
        return (z - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta

    return run


def _activation(layer, array_of):
    activate = ACTIVATIONS[layer.activation.__name__]
    # These may be the caller's rows.
    return lambda z, array: activate(np.array(z))


def _rescaling(layer, array_of):
    scale, offset = (np.asarray(x, np.float64) for x in (layer.scale, layer.offset))
    return lambda z, array: z * scale + offset


def _flat(layer, array_of):
    return lambda z, array: z.reshape(len(z), -1)


def _same(layer, array_of):
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
    if not is_as_made(layer):
        return False
    if isinstance(layer, (keras.layers.Dense, keras.layers.Activation)):
        return is_keras_activation(layer.activation, ACTIVATIONS)
    if isinstance(
        layer, (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
    ):
        by_squares = getattr(layer, "rms_scaling", False)
        return layer.axis in (-1, [-1]) and not by_squares
    # Flatten puts channels that come first behind all else.
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def dense_stack(model, array_of):
    """Return the layers as functions, or None for no stack.

    Each takes float64 rows, and what makes a new array of a shape: ``np.empty``, say.

    Parameters
    ----------
    model : keras.Model
    array_of : callable
        Returns the value of a variable, a float64 array.
    """
    if type(model) is not keras.Sequential or not is_as_made(model):
        return None
    if not all(map(_is_plain, model.layers)):
        return None
    if any(x.dtype in ("float16", "bfloat16") for x in model.inputs):
        return None  # It rounds the rows.
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if any(layer.lora_enabled or layer.quantization_mode for layer in kernels):
        return None
    return [_LAYERS[type(layer)](layer, array_of) for layer in model.layers]
