"""Few widths for many networks: narrow layers trained as wider ones.

tensorflow never frees a compiled program, and a search goes through many widths. So
the hidden layers of a dense stack are brought to one of a few widths by units whose
weights are 0. Where the activation of 0 is 0, such a unit puts out 0 and its weights
have no gradient: they stay 0, and the others train as without it, to rounding.
"""

import keras
import numpy as np

from skann._keras.fingerprint.libraries import is_as_made
from skann._keras.input_layers import input_layers
from skann._keras.layers import (
    is_keras_activation,
    is_plain_dense,
    passes_on,
    shares_no_variable,
)
from skann._keras.serialisation import deserialise, serialise
from skann._keras.unit_layer import unit_layer

# The widths that are trained. A wider layer is left as it is: there, the arithmetic of
# more units would take longer than compiling. 100 is the estimators' default.
WIDTHS = (32, 64, 100, 128)

# From this many steps, the arithmetic of more units takes longer than compiling.
STEPS_WORTH_OWN_WIDTH = 100_000

_ZERO_AT_ZERO = {
    "linear",
    "relu",
    "tanh",
    "elu",
    "selu",
    "gelu",
    "silu",
    "leaky_relu",
}
# Those that change a weight by its own gradient and by norms, in which zeros do not
# count.
_OPTIMIZERS = {
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
    keras.optimizers.Nadam,
    keras.optimizers.Adamax,
    keras.optimizers.Adagrad,
    keras.optimizers.Lion,
}


def shared_units(model, n_steps):
    """Return the units that each layer of a model is to be trained with.

    Returns
    -------
    dict of int to int, or None
        Units by a layer's position; None where all would keep their own, and where
        added units would change what the others learn.
    """
    if n_steps >= STEPS_WORTH_OWN_WIDTH or type(model) is not keras.Sequential:
        return None
    if type(model.optimizer) not in _OPTIMIZERS or not is_as_made(model.optimizer):
        return None
    if not _is_positive(getattr(model.optimizer, "epsilon", 1.0)):
        return None  # It would divide what is nothing by nothing.
    if not shares_no_variable(model):
        return None
    if not all(layer.trainable for layer in model.layers):
        return None  # Frozen after it was built, an optimizer has variables for it.
    positions = [i for i, x in enumerate(model.layers) if type(x) is keras.layers.Dense]
    n_layers = len(model.layers) - (unit_layer(model) is not None)
    if not positions or positions[-1] != n_layers - 1:
        return None
    first, last = positions[0], positions[-1]
    before = model.layers[len(input_layers(model)) : first]
    if any(type(x) is not keras.layers.Flatten for x in before):
        return None
    if not all(map(passes_on, before)):
        return None
    if len(model.layers[first].input.shape) != 2:
        return None
    if not all(map(_keeps_zero, model.layers[first:last])):
        return None
    if not is_plain_dense(model.layers[last]):
        return None
    own = {i: model.layers[i].units for i in positions[:-1]}
    units = {i: _width(n) for i, n in own.items()}
    return None if units == own else units


def _width(units):
    return next((width for width in WIDTHS if width >= units), units)


def _keeps_zero(layer):
    """Whether a hidden layer keeps units of nothing but zeros as they are."""
    # A penalty on outputs may be a mean, in which zeros do count.
    if not is_as_made(layer) or layer.activity_regularizer is not None:
        return False
    if type(layer) is keras.layers.Dropout:
        return layer.noise_shape is None
    if type(layer) is keras.layers.BatchNormalization:
        parts = (
            layer.beta_regularizer,
            layer.gamma_regularizer,
            layer.beta_constraint,
            layer.gamma_constraint,
        )
        has_epsilon = _is_positive(layer.epsilon)
        return layer.axis in (-1, 1) and has_epsilon and not any(parts)
    if type(layer) is keras.layers.Activation:
        return is_keras_activation(layer.activation, _ZERO_AT_ZERO)
    return is_plain_dense(layer) and is_keras_activation(
        layer.activation, _ZERO_AT_ZERO
    )


def _is_positive(epsilon):
    """Whether something is left of it in a step, where what is tiny counts as 0."""
    return epsilon >= _TINY


_TINY = float(np.finfo(np.float32).tiny)


def widened(model, units):
    """Return a compiled model like this one, with these units in its layers."""
    config, custom_objects, loss = serialise(model)
    layers = [x for x in config["config"]["layers"] if x["class_name"] != "InputLayer"]
    for i, width in units.items():
        layers[i]["config"]["units"] = width
    for layer in layers:
        layer.pop("build_config", None)
    config.pop("build_config", None)
    return deserialise(config, custom_objects, loss)


def pad(value, shape):
    """Return an array with zeros added at the end of each dimension."""
    more = [(0, n - own) for n, own in zip(shape, value.shape, strict=True)]
    return np.pad(value, more)


def cut(value, shape):
    """Return the part of an array that `pad` was given."""
    return value[tuple(slice(n) for n in shape)]
