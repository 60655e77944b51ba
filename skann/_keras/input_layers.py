"""The layers that bring X to a common range: the first three of a network.

All are Keras' own, so that any program that knows Keras reads a network with them: a
`Rescaling` by column, the activation "tanh", and a `Rescaling` to the range. The first
one computes in float64, for a column's median may be large beside its quartiles.
"""

import keras
import numpy as np

from skann._data.input_scale import BOUND, InputScale
from skann._keras.fingerprint.libraries import is_as_made
from skann._keras.ids import TAKE_IDS
from skann._runtime.private import compiled_with
from skann.exceptions import ModelError

# By these names the layers are known, also in a model that comes from a file.
SCALE, CLIP, RANGE = NAMES = ("scale_of_x", "clip_of_x", "range_of_x")


def add_input_layers(model, scale):
    """Return a compiled model with these layers before its first one.

    Parameters
    ----------
    model : keras.Sequential
        It stays as it is; its layers are those of the new one.
    scale : InputScale

    Raises
    ------
    ModelError
        For a model of another class.
    """
    if type(model) is not keras.Sequential or not is_as_made(model):
        raise ModelError(
            "normalize_X=True can put layers before those of a keras.Sequential only, "
            f"and the network is of class {type(model).__name__}. Scale X by "
            "scikit-learn's RobustScaler, or use normalize_X=False."
        )
    if input_layers(model):
        raise ModelError(
            "normalize_X=True would put layers before a network that has them already. "
            "Use normalize_X='auto' or normalize_X=False."
        )
    takes_ids = [layer for layer in model.layers if isinstance(layer, TAKE_IDS)]
    if takes_ids or not model.inputs[0].dtype.startswith(("float", "bfloat")):
        what = [repr(layer.name) for layer in takes_ids]
        raise ModelError(
            "normalize_X=True would scale numbers of categories, or whole numbers, "
            f"which the network takes ({', '.join(what) or model.inputs[0].dtype}). "
            "Use normalize_X='auto' or normalize_X=False."
        )
    dtype = model.layers[0].dtype_policy
    first = keras.layers.Rescaling(
        _fixed(scale.scale), _fixed(scale.offset), dtype="float64", name=SCALE
    )
    clip = keras.layers.Activation("tanh", dtype=dtype, name=CLIP)
    last = keras.layers.Rescaling(BOUND, dtype=dtype, name=RANGE)
    parts = [*model.inputs, first, clip, last, *model.layers]
    scaled = keras.Sequential(parts, name=model.name)
    scaled.compile(**compiled_with(model))
    return scaled


def _fixed(numbers):
    """Return numbers as the layer takes them: of a list Keras makes float32 first.

    They are read-only, for predictions would not follow what is changed in place.
    """
    numbers = numbers.copy()
    numbers.setflags(write=False)
    return numbers


def input_layers(model):
    """Return the three layers of a model, or none of them: a list."""
    if type(model) is not keras.Sequential:
        return []
    layers = list(model.layers[:3])
    kinds = [keras.layers.Rescaling, keras.layers.Activation, keras.layers.Rescaling]
    if [type(layer) for layer in layers] != kinds:
        return []
    if tuple(layer.name for layer in layers) != NAMES or layers[2].scale != BOUND:
        return []
    is_tanh = layers[1].activation is keras.activations.tanh and not layers[2].offset
    return layers if is_tanh and all(map(is_as_made, layers)) else []


def input_scale_of(model):
    """Return what a model's layers hold (InputScale), or None where it has none."""
    layers = input_layers(model)
    if not layers:
        return None
    numbers = layers[0].scale, layers[0].offset
    return InputScale(*(np.asarray(part, dtype=np.float64) for part in numbers))
