"""Keras' layers as they are described for NumPy (``layer_functions.py``)."""

import keras
import numpy as np

from skann._keras.fingerprint.libraries import is_as_made
from skann._keras.input_layers import input_layers
from skann._keras.layers import is_keras_activation
from skann._network.layer_functions import ACTIVATIONS


def _dense(layer, array_of):
    return {
        "kernel": array_of(layer.kernel),
        "bias": array_of(layer.bias) if layer.use_bias else None,
        "activation": layer.activation.__name__,
    }


def _batch_normalization(layer, array_of):
    return {
        "mean": array_of(layer.moving_mean),
        "variance": array_of(layer.moving_variance),
        **_gamma_and_beta(layer, array_of),
    }


def _gamma_and_beta(layer, array_of):
    return {
        "gamma": array_of(layer.gamma) if layer.scale else None,
        "beta": array_of(layer.beta) if layer.center else None,
        "epsilon": layer.epsilon,
    }


def _activation(layer, array_of):
    return {"activation": layer.activation.__name__}


def _rescaling(layer, array_of):
    return {name: np.asarray(getattr(layer, name), np.float64) for name in _OF_UNIT}


def _nothing(layer, array_of):
    return {}


_OF_UNIT = ("scale", "offset")

_LAYERS = {
    keras.layers.InputLayer: ("same", _nothing),
    keras.layers.Dropout: ("same", _nothing),
    keras.layers.Flatten: ("flatten", _nothing),
    keras.layers.Rescaling: ("rescaling", _rescaling),
    keras.layers.Dense: ("dense", _dense),
    keras.layers.Activation: ("activation", _activation),
    keras.layers.BatchNormalization: ("batch_normalization", _batch_normalization),
    keras.layers.LayerNormalization: ("layer_normalization", _gamma_and_beta),
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
    """Return the layers as ``functions_of`` takes them, or None for no stack.

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
    first = input_layers(model)
    described = []
    if first:
        dtype = {"dtype": model.inputs[0].dtype}
        described.append(("clip", _rescaling(first[0], array_of) | dtype))
    for layer in model.layers[len(first) :]:
        kind, numbers_of = _LAYERS[type(layer)]
        described.append((kind, numbers_of(layer, array_of)))
    return described
