"""What the engine knows of Keras' own layers."""

import keras

from skann.training._unit import unit_layer

_PENALTIES = {"L1", "L2", "L1L2", "Float64Penalty"}


def is_plain_dense(layer):
    """Whether a layer is a dense layer with at most a penalty on its kernel."""
    if type(layer) is not keras.layers.Dense:
        return False
    extras = (
        layer.bias_regularizer,
        layer.activity_regularizer,
        layer.kernel_constraint,
        layer.bias_constraint,
        layer.lora_enabled,
        layer.quantization_mode,
    )
    penalty = layer.kernel_regularizer
    known = penalty is None or type(penalty).__name__ in _PENALTIES
    return known and not any(extras)


def is_plain_stack(model):
    """Whether a model is a stack of Keras' common layers, with its own activations."""
    unit = unit_layer(model)
    return type(model) is keras.Sequential and all(
        type(layer) in _COMMON
        and is_keras_activation(
            getattr(layer, "activation", keras.activations.linear),
            vars(keras.activations),
        )
        for layer in model.layers
        if layer is not unit
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
    return name in names and function is getattr(keras.activations, name)
