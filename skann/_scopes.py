"""Making a model wherever it is asked for: in a function being traced, say."""

from contextlib import contextmanager

import keras
import tensorflow as tf

# Nothing public leads out of Keras' scopes, or out of a graph that is no function's.
from keras.src.backend.common import global_state
from tensorflow.python.eager import context as tf_context

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
    float32.
    """
    floatx = keras.config.floatx()
    scopes = {name: global_state.get_global_attribute(name) for name in _KERAS_SCOPES}
    for name in scopes:
        global_state.set_global_attribute(name, None)
    keras.config.set_floatx("float32")
    try:
        with tf.init_scope(), tf_context.eager_mode():
            yield
    finally:
        keras.config.set_floatx(floatx)
        for name, value in scopes.items():
            global_state.set_global_attribute(name, value)
