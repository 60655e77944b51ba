"""Whether Keras knows a name, for parameters whose right values only Keras knows."""

import keras
import numpy as np

from skann._keras.randomness import seeded_keras
from skann._runtime.text import one_line

_MODULES = {"activations": keras.activations, "initializers": keras.initializers}


def check_dtype(value):
    """Raise ValueError for what is no floating dtype policy of Keras'."""
    try:
        kind = keras.dtype_policies.get(value).variable_dtype
    except (ValueError, TypeError):
        kind = None
    if kind is None or "float" not in kind:
        raise ValueError(
            f"dtype={value!r} is no dtype policy of Keras, such as 'float32', "
            "'float64' or 'mixed_bfloat16'."
        )


def check_known(parameter, value, module):
    """Raise ValueError for a name that one of Keras' modules does not have."""
    module = _MODULES[module]
    try:
        with seeded_keras(0):  # An initializer draws a seed.
            module.get(value)
    except (ValueError, TypeError):
        known = sorted(
            n
            for n in vars(module)
            if n[0].islower() and n[0] != "_" and n not in _VERBS
        )
        raise ValueError(
            f"{parameter}={value!r} is not known to Keras, which has {known}; or give "
            "a callable."
        ) from None
    except Exception as error:
        raise ValueError(
            f"{parameter}={value!r} is nothing that Keras can make without arguments "
            f"({type(error).__name__}: {one_line(error)}): give an object."
        ) from error


_VERBS = ("get", "serialize", "deserialize")


def value_of(loss):
    """Return a loss of the user's own as a function of arrays, in float32."""

    def value(y, outputs):
        tensors = (keras.ops.convert_to_tensor(x, "float32") for x in (y, outputs))
        return float(np.mean(keras.ops.convert_to_numpy(loss(*tensors))))

    return value
