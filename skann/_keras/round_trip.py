"""Whether a model comes back from its configuration as it was.

Keras' own files trust that it does. But some of Keras' layers cannot be made of their
own configuration, others leave arguments out of it, and those of the user's may. So
but for what is known to come back, it is tried, and the two are compared.
"""

import re
import types
from functools import lru_cache

import keras
import numpy as np

from skann._keras import serialisation
from skann._keras.fingerprint.libraries import is_as_made
from skann._keras.fingerprint.walk import describe
from skann._keras.state import restore, state_of, take_trainable
from skann._keras.structure import as_declared, single
from skann._runtime.private import OF_COMPILATION, OF_ONE_CALL, layers_in
from skann._runtime.text import one_line
from skann.exceptions import ModelError

# What made these stands in their configuration, and it was tried of each of them
# whether it comes back.
_KNOWN = {
    *(keras.layers.InputLayer, keras.layers.Dense, keras.layers.Activation),
    *(keras.layers.Flatten, keras.layers.Reshape, keras.layers.Rescaling),
    *(keras.layers.Dropout, keras.layers.SpatialDropout1D),
    *(keras.layers.SpatialDropout2D, keras.layers.GaussianNoise),
    *(keras.layers.BatchNormalization, keras.layers.LayerNormalization),
    *(keras.layers.Normalization, keras.layers.Embedding),
    *(keras.layers.Add, keras.layers.Multiply, keras.layers.Concatenate),
    *(keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU),
    *(keras.layers.ELU, keras.layers.Softmax),
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D),
    *(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D),
    *(keras.layers.GlobalAveragePooling1D, keras.layers.GlobalAveragePooling2D),
    *(keras.layers.GlobalMaxPooling1D, keras.layers.GlobalMaxPooling2D),
    # Their tables cannot be compared.
    *(keras.layers.Discretization, keras.layers.IntegerLookup),
    *(keras.layers.StringLookup, keras.layers.TextVectorization),
}


# They turn it off themselves.
_WITHOUT_AUTOCAST = {keras.layers.LayerNormalization, keras.layers.Embedding}


def frozen(model, is_only_way):
    """Return what `serialisation.freeze` does, or None where that makes another model.

    Parameters
    ----------
    model : keras.Model
    is_only_way : bool
        Whether a model can come back in no other way. Then what cannot be compared
        passes, and so does what leaves outputs as they are.

    Raises
    ------
    ModelError
        If there is no other way.
    """
    again = None
    try:
        made = serialisation.freeze(model)
        if not need_not_be_tried(model):
            # Their `from_config` may take out of the configuration what it reads.
            made_of = serialisation.serialise(model)
            again = serialisation.refill(serialisation.deserialise(*made_of), made)
    except Exception as error:  # Code of the user's runs.
        if is_only_way:
            raise _error(model, _said(error)) from error
        return None
    if again is None or _are_alike(model, again, in_outputs=is_only_way):
        return made
    if is_only_way:
        raise _error(model, f"{_first_that_differs(model, again)} is another one then.")
    return None


def copy_model(model):
    """Return a copy of a ready Keras model, weights included, its optimizer fresh.

    Raises
    ------
    ModelError
        If its configuration makes another model.
    """
    try:
        copy = serialisation.deserialise(*serialisation.serialise(model))
        state = state_of(model, with_optimizer=False)
        take_trainable(copy, state)
        restore(copy, state)
    except Exception as error:  # Code of the user's runs.
        raise _error(model, _said(error)) from error
    if not (need_not_be_tried(model) or _are_alike(model, copy, in_outputs=True)):
        raise _error(model, f"{_first_that_differs(model, copy)} is another one then.")
    return copy


def _said(error):
    """Return what was said first, and of what: Keras has configurations around it."""
    before, _, said = str(error).rpartition("Exception encountered: ")
    classes = re.findall(r"deserializing class '(\w+)'", before)
    return ": ".join([*classes[-1:], one_line(said.partition("Example:")[0])])


def _error(model, why):
    return ModelError(
        f"The model {model.name!r} ({type(model).__name__}) cannot be copied or "
        f"pickled, as Keras cannot make it again of its configuration: {why} Give a "
        "build function that returns such a model."
    )


def need_not_be_tried(model):
    """Whether a model is one of which it need not be tried."""
    things = list(serialisation.things_in(model))
    return (
        _is_of_library(type(model))
        and all(map(_is_known_part, things))
        and _holds_each_once(model)
    )


def _holds_each_once(model):
    """Whether no layer stands in a stack twice, and no variable in two layers."""
    layers = [layer for layer in layers_in(model) if type(layer) in _KNOWN]
    ids = [id(variable) for layer in layers for variable in layer.variables]
    stack = model.layers if isinstance(model, keras.Sequential) else []
    return len(set(ids)) == len(ids) and len(set(map(id, stack))) == len(stack)


# Beside what libraries make, Keras keeps signatures, locks and the like in a layer.
_LIBRARIES = (
    *("keras.", "builtins", "tensorflow.", "numpy", "skann."),
    *("functools", "inspect", "threading", "_thread"),
)


@lru_cache(maxsize=4096)
def _is_of_library(cls):
    return cls.__module__.startswith(_LIBRARIES)


def _is_known_part(part):
    # Functions and classes are themselves again, and losses are kept as they are.
    if isinstance(part, (types.FunctionType, type, keras.losses.Loss)):
        return not serialisation.is_lambda(part)
    if not _is_of_library(type(part)):
        return False
    if not isinstance(part, keras.layers.Layer) or isinstance(part, keras.Model):
        return True
    held, own = vars(part).values(), set(map(id, part.variables))
    return (
        type(part) in _KNOWN
        and part.autocast == (type(part) not in _WITHOUT_AUTOCAST)
        and is_as_made(part)
        and all(map(_is_of_library, map(type, held)))
        # Those of another layer may have been put in.
        and all(id(v) in own for v in held if isinstance(v, keras.Variable))
    )


def _are_alike(model, again, in_outputs):
    own, other = _description(model), _description(again)
    if own.key is not None and own.key == other.key:
        return True
    if not in_outputs:
        return False
    return None in (own.key, other.key) or _same_outputs(model, again)


def _description(model):
    """Return the description of all of a model that is not kept by itself."""
    left_out = {(id(model), name) for name in _COMPILED}
    layers = layers_in(model)
    left_out |= {(id(layer), name) for layer in layers for name in OF_ONE_CALL}
    given = list(serialisation.given_metrics(model))
    optimizer = getattr(model, "optimizer", None)
    variables = list(model.variables) + list(getattr(optimizer, "variables", ()))
    for metric in given:
        variables += getattr(metric, "variables", ())
    return describe([model, optimizer, *given], variables, left_out=left_out)


# Made of what the model was compiled with, which is looked at by itself.
_COMPILED = (*OF_COMPILATION, "loss", "optimizer")


def _same_outputs(model, again):
    """Whether two models give the same outputs for some rows, if any can be had."""
    try:
        rows = as_declared(model, _rows(*model.inputs))
        pairs = [np.asarray(single(each(rows))) for each in (model, again)]
    except Exception:  # Of a model without inputs, or of code of the user's.
        return True
    return np.array_equal(*pairs, equal_nan=True)


def _rows(tensor):
    shape = [2 if n is None else n for n in tensor.shape]
    return np.random.default_rng(0).normal(size=shape).astype(tensor.dtype)


def _first_that_differs(model, again):
    """Return the innermost layer that is another one in a copy, as text."""
    pairs = zip(layers_in(model), layers_in(again), strict=True)
    different = [
        own
        for own, other in pairs
        if own is not model
        and describe([own], own.variables).digest
        != describe([other], other.variables).digest
    ]
    if not different:
        return "a part of it"
    inner = min(different, key=lambda layer: len(layers_in(layer)))
    return f"{type(inner).__name__} {inner.name!r}"
