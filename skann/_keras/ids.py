"""Numbers of categories, which a floating type cannot tell apart where they are large.

A network is fed floats unless its input declares another type, as Keras feeds it. In
float32, 2**24 + 1 is 2**24: to a table of categories both are the same one.
"""

import keras

from skann._data.rows import exceeds_whole_numbers
from skann._runtime.private import layers_in

# What looks up a number by its value. (A crossing hashes it.)
TAKE_IDS = (
    keras.layers.CategoryEncoding,
    keras.layers.Embedding,
    keras.layers.HashedCrossing,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)


def check_ids(X, model, dtype):
    """Raise ValueError for integers that merge in the type a model is fed.

    Of tables without categories, a large number is rounded like any other.
    """
    if not exceeds_whole_numbers(X, dtype):
        return
    for layer in layers_in(model):
        if isinstance(layer, TAKE_IDS):
            raise ValueError(
                f"Input X has integers that {dtype}, which the network is fed, cannot "
                f"tell apart, and {type(layer).__name__} {layer.name!r} takes numbers "
                "of categories. Declare the input as keras.Input(input_shape, "
                "dtype='int64'); of a class of your own, return keras.Model(inputs, "
                "network(inputs))."
            )
