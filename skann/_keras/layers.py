"""What the engine knows of Keras' own layers."""

import keras

from skann._keras.fingerprint.libraries import is_as_made, is_of_library
from skann._keras.input_layers import input_layers
from skann._keras.penalty import CastPenalty
from skann._keras.unit_layer import unit_layer

_PENALTIES = {
    type(None),
    keras.regularizers.L1,
    keras.regularizers.L2,
    keras.regularizers.L1L2,
    CastPenalty,
}


def is_plain_dense(layer):
    """Whether a layer is a dense layer with at most a penalty on its kernel."""
    if type(layer) is not keras.layers.Dense or not is_as_made(layer):
        return False
    extras = (
        layer.bias_regularizer,
        layer.activity_regularizer,
        layer.kernel_constraint,
        layer.bias_constraint,
        layer.lora_enabled,
        layer.quantization_mode,
    )
    known = type(layer.kernel_regularizer) in _PENALTIES
    return known and not any(extras) and _has_plain_variables(layer)


def _has_plain_variables(layer):
    """Whether a dense layer's variables are its own, and treated as it says."""
    if layer.built:
        used = [v for v in (layer.kernel, layer.bias) if v is not None]
        if not same_objects(used, layer.weights):
            return False  # Those of another layer have been put in.
    penalties = [layer.kernel_regularizer] + [None] * (len(layer.weights) - 1)
    return all(
        variable.regularizer is penalty
        and variable.constraint is None
        and variable.trainable == layer.trainable
        for variable, penalty in zip(layer.weights, penalties, strict=True)
    )


def same_objects(these, those):
    """Whether two lists hold the same objects, in the same order."""
    return list(map(id, these)) == list(map(id, those))


def shares_no_variable(model):
    """Whether a model's variables are those of its layers in turn, each in one only."""
    of_layers = [v for layer in model.layers for v in layer.variables]
    return same_objects(of_layers, model.variables)


def passes_on(layer):
    """Whether a Flatten or a Dropout is one with nothing out of the ordinary."""
    # Of channels that come first it makes other columns than NumPy's reshape.
    ordered = getattr(layer, "data_format", "channels_last") == "channels_last"
    return ordered and is_as_made(layer) and layer.activity_regularizer is None


def n_dense_layers(model):
    """Return how many of a model's layers are dense ones."""
    return sum(isinstance(layer, keras.layers.Dense) for layer in model.layers)


def is_plain_stack(model):
    """Whether a model is a stack of Keras' common layers, with its own activations."""
    if type(model) is not keras.Sequential or not is_as_made(model):
        return False
    of_units = [*input_layers(model), unit_layer(model)]
    return all(
        type(layer) in _COMMON
        and is_as_made(layer)
        and is_keras_activation(
            getattr(layer, "activation", keras.activations.linear),
            vars(keras.activations),
        )
        for layer in model.layers
        if not any(layer is known for known in of_units)
    )


_COMMON = {
    keras.layers.Flatten,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Activation,
}


def is_keras_activation(function, names):
    """Whether a function is Keras' own activation of one of these names."""
    name = getattr(function, "__name__", "")
    known = name in names and function is getattr(keras.activations, name, None)
    return known and is_of_library(function)
