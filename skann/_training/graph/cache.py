"""Programs by what they depend on, kept and shared between fits: a bounded number."""

import hashlib
import threading
from collections import Counter, OrderedDict

import keras
import numpy as np
import tensorflow as tf

from skann._keras.fingerprint.libraries import is_library
from skann._keras.fingerprint.walk import describe
from skann._keras.input_layers import input_layers
from skann._keras.unit_layer import unit_layer
from skann._keras.variables import keras_variables_of
from skann._runtime import process
from skann._runtime.private import OF_COMPILATION

# tensorflow frees no traced function, so a smaller cache would save no memory: the
# bound is there for processes that go through very many architectures.
_MOST_PROGRAMS = 256


class ProgramCache:
    """A thread-safe cache in which each program is made once, one at a time."""

    def __init__(self, most=_MOST_PROGRAMS):
        self._most = most
        self._lock = threading.Lock()
        self._entries = OrderedDict()

    def get(self, description, how, make):
        """Return the program for a description, calling `make` where there is none.

        Parameters
        ----------
        description : Description
            A program of what is unique is made, and not kept.
        how : tuple
            What else it depends on.
        make : callable
        """
        if description.is_unique:
            with process.tracing():
                return make()
        key = (description.key, how)
        program = self._found(key)
        if program is None:
            with process.tracing():
                program = self._found(key)  # Another thread may have made it.
                if program is None:
                    program = make()
                    self._keep(key, program, description.same)
        return program

    def _found(self, key):
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def _keep(self, key, program, same):
        with self._lock:
            # The key holds addresses of `same`.
            self._entries[key] = program, same
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def clear(self):
        """Drop all programs."""
        with self._lock:
            self._entries.clear()

    def __len__(self):
        return len(self._entries)


PROGRAMS = ProgramCache()

# How often a program of the same description was made in this process.
_MADE: Counter[str] = Counter()


def first_number(description, *how):
    """Return where the numbers in the names of a program's functions are to start.

    The same in every process, for the first program of a description; never the same
    twice in a process.
    """
    digest = hashlib.sha256(repr((description.digest, how)).encode()).hexdigest()
    _MADE[digest] += 1
    digest = hashlib.sha256(f"{digest} {_MADE[digest]}".encode()).hexdigest()
    # Room for a million names, far from the numbers that tensorflow counts up from 0.
    return 2**61 + (int(digest[:10], 16) << 20)


def description_of(model, units=None):
    """Return the description of what trains a model, equal where a program can.

    Parameters
    ----------
    model : keras.Model
        Compiled; its variables are created by ``prepare``.
    units : dict of int to int, default=None
        What ``shared_units`` returned: then it is that of the widened model.

    Returns
    -------
    Description
    """
    scaled, arguments = _scaled(model)
    things, how = [_settings(), scaled, model], {"left_out": arguments}
    if units is not None:
        # The shapes of all variables follow from the layers and the input's.
        things += ["widened", model.input_shape]
        how["with_shapes"] = False
        wide = {(id(model.layers[i]), "units"): n for i, n in units.items()}
        how["instead"] = wide
    return describe(things, keras_variables_of(model), **how)


# What a model of Keras' own class was compiled with takes no part in its outputs.
_COMPILED = (*OF_COMPILATION, "loss", "optimizer")


def description_of_outputs(model):
    """Return the description of what a model's outputs depend on."""
    scaled, left_out = _scaled(model)
    if is_library(type(model).__module__):
        left_out |= {(id(model), name) for name in _COMPILED}
    things = [_settings(), scaled, model]
    return describe(things, keras_variables_of(model), left_out=left_out)


def _scaled(model):
    """Return what is described of the layers of units, and what is an argument."""
    first, last = input_layers(model)[:1], unit_layer(model)
    layers = [*first, *([] if last is None else [last])]
    shapes = [(np.shape(x.scale), np.shape(x.offset)) for x in layers]
    numbers = {(id(layer), name) for layer in layers for name in ("scale", "offset")}
    return [len(first), *shapes], numbers


def _settings():
    """Return the settings of the process that traced code reads."""
    experimental = tf.config.experimental
    return [
        keras.config.floatx(),
        keras.config.epsilon(),
        keras.config.image_data_format(),
        keras.config.dtype_policy(),
        keras.config.is_flash_attention_enabled(),
        experimental.tensor_float_32_execution_enabled(),
        tf.config.optimizer.get_jit(),
        tf.config.functions_run_eagerly(),
    ]
