"""Which optimizers of Keras' or of the user's can train in float64."""

import keras
import numpy as np

from skann._keras.packing import deep_copy
from skann._keras.randomness import fresh_names


def changes_float64(optimizer):
    """Whether an optimizer (a class or an object) changes variables in float64.

    An object is left as it is.
    """
    kind = optimizer if isinstance(optimizer, type) else type(optimizer)
    is_keras_own = getattr(keras.optimizers, kind.__name__, None) is kind
    is_sure = is_keras_own and kind.__name__ not in _UNSURE
    return is_sure or _is_seen_to(optimizer)


# The last two hold others.
_UNSURE = ("Muon", "LossScaleOptimizer", "MultiOptimizer")


def _is_seen_to(optimizer):
    """Take a step by an optimizer of this kind."""
    ones = np.ones((2, 2))
    try:
        with fresh_names():
            is_class = isinstance(optimizer, type)
            trial = optimizer() if is_class else deep_copy(optimizer)
            variable = keras.Variable(ones, dtype="float64")
            trial.apply([keras.ops.convert_to_tensor(ones)], [variable])
    except Exception:
        # It may be of the user's own, and raise anything; what is wrong with it, the
        # fit will say.
        return False
    return True
