"""y's own unit: a network's last layer, which brings what was learned to it.

A network learns best what has a mean of 0 and a deviation of 1. Its last layer, one of
Keras' own, multiplies by y's deviation and adds y's mean. So whatever looks at the
network (losses, metrics, callbacks, files) sees y. Only the gradient is another: in
training it comes through this layer as it would be of a normalised y, so that neither
the steps nor the best learning rate depend on y's unit.
"""

import functools
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from skann._data.unit import Unit
from skann._keras.fingerprint.libraries import is_as_made
from skann._keras.input_layers import NAMES, input_layers, input_scale_of
from skann._runtime.private import compiled_with, set_dtype
from skann.exceptions import ModelError

# By this name the layer is known, also in a model that comes from a file.
NAME = "unit_of_y"

# All that are known by names.
OF_UNITS = (NAME, *NAMES)


def add_unit(model, unit):
    """Return a compiled model with the layer behind its last one.

    Parameters
    ----------
    model : keras.Sequential or keras.Model
        Sequential or functional, with a single output. It stays as it is, as a build
        function may return it again; its layers are those of the new one.
    unit : Unit

    Raises
    ------
    ModelError
        For a model of another class: its steps may be of its own.
    """
    kind = type(model)
    is_known = is_as_made(model) or isinstance(model, keras.Sequential)
    known = kind.__module__.startswith("keras.") and is_known
    if not known or len(model.outputs) != 1:
        raise ModelError(
            f"normalize_y=True cannot put a layer behind a network of class "
            f"{kind.__name__}, whose steps are its own. Scale y by scikit-learn's "
            "TransformedTargetRegressor, or use normalize_y=False."
        )
    # In float64, for the mean may be large beside the deviation.
    layer = keras.layers.Rescaling(
        _plain(unit.scale), _plain(unit.shift), dtype="float64", name=NAME
    )
    if not is_as_made(model):  # What was put into it would be lost.
        model.add(layer)
        scaled = model
    elif isinstance(model, keras.Sequential):
        parts = [*model.inputs, *model.layers, layer]
        scaled = keras.Sequential(parts, name=model.name)
    else:
        (output,) = model.outputs
        scaled = keras.Model(model.inputs, layer(output), name=model.name)
    # Names of the output, which is another now, are left out.
    given = {k: _the_only(v) for k, v in compiled_with(model).items()}
    given["loss"] = in_full_precision(given["loss"])
    scaled.compile(**given)
    return scaled


def _the_only(thing):
    return next(iter(thing.values())) if isinstance(thing, dict) else thing


def _plain(numbers):
    """Return a float, or a list of floats where there are several."""
    numbers = [float(number) for number in numbers]
    return numbers[0] if len(numbers) == 1 else numbers


def in_full_precision(loss):
    """Return a loss of Keras' as one that computes in float64.

    One of the user's may hold numbers of another type: it stays as it is.
    """
    if not type(loss).__module__.startswith("keras."):
        return loss
    precise = object.__new__(type(loss))
    vars(precise).update(vars(loss))
    set_dtype(precise, keras.dtype_policies.get("float64"))
    return precise


def unit_layer(model):
    """Return a model's layer of this kind, or None."""
    layers = getattr(model, "layers", None)
    last = layers[-1] if layers else None
    is_unit = type(last) is keras.layers.Rescaling and last.name == NAME
    return last if is_unit else None


def unit_of(model):
    """Return what a model's layer holds, or None where it has no such layer."""
    layer = unit_layer(model)
    if layer is None:
        return None
    scale = np.atleast_1d(np.asarray(layer.scale, dtype=np.float64))
    shift = np.atleast_1d(np.asarray(layer.offset, dtype=np.float64))
    return Unit(shift, scale, scale)


class Constant:
    """A number of the layer's as an argument of a program: it stands for a variable."""

    trainable = False
    dtype = "float64"

    def __init__(self, value):
        self._value = tf.Variable(value, trainable=False, dtype=tf.float64)
        self.shape = self._value.shape

    @property
    def handle(self):
        """That of tensorflow's variable."""
        return self._value.handle


def constants_of(model, unit=None):
    """Return the numbers of a model's layers of units, as arguments of programs.

    Scale and offset of its inputs; shift, scale and gradient of its outputs, or those
    of `unit`. Nothing where it has no such layers.
    """
    inputs, own = input_scale_of(model), unit_of(model)
    parts = [] if inputs is None else [inputs.scale, inputs.offset]
    if own is not None:
        unit = own if unit is None else unit
        parts += [unit.shift, unit.scale, unit.gradient]
    return [Constant(part) for part in parts]


@contextmanager
def rescaling_by(model, constants):
    """Let a model's layers compute by these constants while the block runs."""
    first, last = input_layers(model)[:1], unit_layer(model)
    constants, calls = list(constants), []
    for layer in first:
        calls.append((layer, functools.partial(_scaled, constants[:2])))
        constants = constants[2:]
    if last is not None:
        calls.append((last, functools.partial(_rescaled, constants)))
    # Keras may be training by other numbers: a callback of his asks for predictions.
    before = [vars(layer).get("call") for layer, _ in calls]
    for layer, call in calls:
        layer.call = call
    try:
        yield
    finally:
        for (layer, _), call in zip(calls, before, strict=True):
            if call is None:
                vars(layer).pop("call", None)
            else:
                layer.call = call


def _scaled(constants, inputs):
    scale, offset = (tf.convert_to_tensor(constant._value) for constant in constants)
    return tf.cast(inputs, tf.float64) * scale + offset


def _rescaled(constants, inputs):
    shift, scale, gradient = (
        tf.convert_to_tensor(constant._value) for constant in constants
    )

    @tf.custom_gradient
    def rescaled(z):
        return z * scale + shift, lambda upstream: upstream * gradient

    return rescaled(tf.cast(inputs, tf.float64))
