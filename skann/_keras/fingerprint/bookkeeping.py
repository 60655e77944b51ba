"""Attributes of Keras' objects that say nothing of what is traced."""

import keras

from skann._keras.fingerprint.libraries import is_library
from skann._runtime import private

# Names of layers and variables. They do count where somebody's code reads them.
_NAMES = private.NAMES | {"name", "output_names"}

_OF_LAYERS = (
    _NAMES
    | private.NOT_OF_LAYERS
    | {
        # Keras wraps these two methods of every layer; neither is called in tracing.
        *("build", "quantize"),
        *("history", "predict_function", "stop_evaluating", "stop_predicting"),
        *("stop_training", "test_function", "train_function"),
    }
)
_IGNORED = (
    (keras.Operation, _OF_LAYERS),
    (keras.optimizers.Optimizer, private.NOT_OF_OPTIMIZERS | {"name"}),
    (keras.losses.Loss, private.NOT_OF_LOSSES | {"name", "output_names"}),
    # A metric's name is that of its value in the logs.
    (keras.metrics.Metric, private.NOT_OF_LOSSES | {"output_names"}),
    (keras.random.SeedGenerator, private.NOT_OF_SEEDS | {"backend", "name"}),
    (keras.Variable, _NAMES | private.NOT_OF_VARIABLES),
)


def is_ignored(name, cls, with_names):
    """Whether an attribute of a class's instances is left out of their description.

    Parameters
    ----------
    name : str
        The attribute's.
    cls : type
    with_names : bool
        Whether names of layers and variables count.
    """
    if name.startswith(private.OF_TRACKING):
        return True
    if with_names and name in _NAMES:
        return False
    ignored = next((names for base, names in _IGNORED if issubclass(cls, base)), ())
    return name in ignored or (_is_layer_of_keras(cls) and _has_served(name))


def _is_layer_of_keras(cls):
    return issubclass(cls, keras.Operation) and is_library(cls.__module__)


def _has_served(name):
    """Whether an attribute of Keras' layers only decides initial values."""
    return name == "seed" or name.endswith("_initializer")
