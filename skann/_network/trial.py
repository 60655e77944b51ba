"""A few steps of an optimizer by itself, to see whether its arguments make sense."""

import keras
import numpy as np

from skann._keras.randomness import fresh_names
from skann._runtime.text import one_line

# With a decay of -1, the second step divides by 0.
_N_STEPS = 2

# A list of numbers is no number that would fit to it by chance.
_SHAPE = (5, 7)


def check_optimizer(optimizer, arguments):
    """Raise ValueError where an optimizer cannot take a step, or steps to NaN.

    Parameters
    ----------
    optimizer : keras.optimizers.Optimizer
        Used up by this.
    arguments : dict
        What it was made of.
    """
    kind = type(optimizer).__name__
    try:
        with fresh_names():
            weight = keras.Variable(np.ones(_SHAPE), dtype="float32")
            optimizer.build([weight])
            for _ in range(_N_STEPS):
                optimizer.apply([keras.ops.ones(_SHAPE, "float32")], [weight])
            values = np.asarray(weight.value)
    except Exception as error:
        raise ValueError(
            f"optimizer_kwargs={arguments} make an {kind} that can take no step: "
            f"{one_line(error)}"
        ) from error
    if not np.isfinite(values).all():
        raise ValueError(
            f"optimizer_kwargs={arguments} make an {kind} whose steps lead to NaN or "
            "infinity."
        )
