"""Making a model wherever it is asked for: in a function being traced, say."""

from contextlib import contextmanager, nullcontext

import keras
import tensorflow as tf

from skann._runtime import private, process


@contextmanager
def outside_of_scopes():
    """Leave the scopes of Keras and tensorflow that this thread is in, for a block.

    Variables are made, and given their values, at once, and Keras' default type is
    float32, as it was when the network was described. It is the process's: where it has
    been changed since, it is set back for the block. No code of the user's runs in it.
    """
    scopes = {name: private.get_global(name) for name in private.SCOPES}
    for name in scopes:
        private.set_global(name, None)
    try:
        with _floatx_as_it_was(), _outside_of_tensorflows():
            yield
    finally:
        for name, value in scopes.items():
            private.set_global(name, value)


def eagerly():
    """Leave these scopes where this thread is in a function being traced."""
    return nullcontext() if tf.executing_eagerly() else outside_of_scopes()


@contextmanager
def _outside_of_tensorflows():
    if tf.executing_eagerly():
        with tf.init_scope():
            yield
        return
    # The graph of what is being traced would take new variables for that function's,
    # and note those of functions that are called.
    with tf.init_scope(), tf.Graph().as_default(), private.eager_mode():
        yield


@contextmanager
def _floatx_as_it_was():
    floatx = keras.config.floatx()
    if floatx == "float32":
        yield
        return
    with process.LOCK:
        keras.config.set_floatx("float32")
        try:
            yield
        finally:
            keras.config.set_floatx(floatx)
