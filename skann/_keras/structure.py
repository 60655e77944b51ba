"""A network's single input and single output, which may stand in a list or a dict."""

import keras

from skann._runtime.private import input_structure


def single(outputs):
    """Return what a list or dict of one holds; all else as it is."""
    flat = keras.tree.flatten(outputs)
    return flat[0] if len(flat) == 1 else outputs


def as_declared(model, rows):
    """Return rows in the tuple or dict in which a functional model takes its input.

    Keras takes them without, too, and warns, but for a list.
    """
    structure = input_structure(model)
    if not isinstance(structure, (tuple, dict)):
        return rows
    return keras.tree.pack_sequence_as(structure, [rows])
