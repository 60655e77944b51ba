"""What is changed of tensorflow and of a model while its program is traced."""

import contextlib
import functools
import itertools

import keras
import tensorflow as tf

from skann._keras.unit_layer import OF_UNITS
from skann._runtime.private import layers_in, numbered_by
from skann._training.graph.cache import first_number


def plain_dropouts(model):
    return [
        layer
        for layer in layers_in(model)
        if type(layer) is keras.layers.Dropout
        and layer.noise_shape is None
        and 0 < layer.rate < 1
    ]


@contextlib.contextmanager
def fast_in_xla(dropouts):
    """Let dropout layers draw their numbers by the generator that XLA runs well.

    tensorflow's own choice is Philox, which XLA draws anew wherever a mask is used:
    3 to 7 times the time of a whole step, where ThreeFry takes a fraction of one. But
    of the two only Philox runs outside XLA.
    """
    for layer in dropouts:
        layer.call = functools.partial(_dropout, layer)
    try:
        yield
    finally:
        for layer in dropouts:
            del layer.call


def _dropout(layer, inputs, training=False):
    if not training:
        return inputs
    return tf.nn.experimental.stateless_dropout(
        inputs,
        rate=layer.rate,
        seed=tf.cast(layer.seed_generator.next(), tf.int32),
        rng_alg="threefry",
    )


@contextlib.contextmanager
def same_names_everywhere(model, description, *how):
    """Let what is traced have the same names in every process.

    Names of functions and layers are part of a compiled program, and with them of its
    key in the disk cache. By themselves they are numbered through a process. Where
    somebody's code may read the names of layers, they stay.

    Yields
    ------
    dict of str to str
        Classes of the layers, by the names that they have meanwhile.
    """
    parts = [model, *layers_in(model), model.optimizer, model.loss]
    # Those of units are known by their names, which are the same everywhere.
    parts = [x for x in parts if getattr(x, "name", None) not in (None, *OF_UNITS)]
    parts = [] if description.reads_names else parts
    names = [part.name for part in parts]
    numbers = itertools.count(first_number(description, *how))
    for i, part in enumerate(parts):
        part.name = f"part_{i}"
    layers = layers_in(model, itself=False)
    try:
        with numbered_by(numbers):
            yield {layer.name: type(layer).__name__ for layer in layers}
    finally:
        for part, name in zip(parts, names, strict=True):
            part.name = name
