"""Making a model wherever it is asked for: in a function being traced, say."""

from contextlib import contextmanager, nullcontext

import keras
import tensorflow as tf

# Nothing public leads out of Keras' scopes, or out of a graph that is no function's.
from keras.src.backend.common import global_state
from tensorflow.python.eager import context as tf_context

from skann._runtime import process

# What Keras keeps for each thread, and changes what a new layer or variable is.
_KERAS_SCOPES = (
    "stateless_scope",
    "symbolic_scope",
    "autocast_scope",
    "current_call_ctx",
    "name_scope_stack",
    "remat_scope_stack",
    "in_tf_graph_scope",
    "dtype_policy",
)


@contextmanager
def outside_of_scopes():
    """Leave the scopes of Keras and tensorflow that this thread is in, for a block.

    Variables are made, and given their values, at once, and Keras' default type is
    float32, as it was when the network was described. It is the process's: where it has
    been changed since, it is set back for the block. No code of the user's runs in it.
    """
    scopes = {name: global_state.get_global_attribute(name) for name in _KERAS_SCOPES}
    for name in scopes:
        global_state.set_global_attribute(name, None)
    try:
        with _floatx_as_it_was(), _outside_of_tensorflows():
            yield
    finally:
        for name, value in scopes.items():
            global_state.set_global_attribute(name, value)


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
    with tf.init_scope(), tf.Graph().as_default(), tf_context.eager_mode():
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
