"""The forward pass of a network that is no plain stack, in tensorflow."""

import numpy as np
import tensorflow as tf

from skann import _fork
from skann.training._cache import PROGRAMS, fingerprint
from skann.training._structure import as_declared, single
from skann.training._tracing import TRACING
from skann.training._unit import constants_of, rescaling_by
from skann.training._variables import rows_dtype, standing_in

# Rows of one batch of a forward pass: always as many, so that a row's outputs do not
# depend on how many rows were asked for.
_BLOCK = 32

_OUTPUTS = tf.TensorSpec((_BLOCK, None), tf.float64)


class ForwardProgram:
    """The forward pass of one architecture, over any number of rows."""

    def __init__(self, model, row_shape):
        self._model = model
        constants = constants_of(model)
        self._variables = [*model.variables, *constants]
        values = [v._value for v in self._variables]
        rows = tf.TensorSpec((None, *row_shape), rows_dtype(model))
        with TRACING, rescaling_by(model, constants):
            self._run = tf.function(
                self._blocks, autograph=False
            ).get_concrete_function(values, rows)
        del self._model, self._variables

    def _blocks(self, values, x):
        """Run block after block; the rows are a whole number of them."""
        rest = x.shape[1:]
        blocks = tf.reshape(x, [-1, _BLOCK, *rest])
        with standing_in(self._variables, values):
            outputs = tf.map_fn(self._block, blocks, fn_output_signature=_OUTPUTS)
        return tf.reshape(outputs, [-1, tf.shape(outputs)[-1]])

    def _block(self, x):
        outputs = self._model(as_declared(self._model, x), training=False)
        return tf.cast(single(outputs), tf.float64)

    def __call__(self, values, x):
        missing = -len(x) % _BLOCK
        padded = np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])
        return self._run(values, tf.constant(padded)).numpy()[: len(x)]


class Forward:
    """A model's forward pass, by the program of its architecture.

    With `values`, by these in the place of its variables.
    """

    def __init__(self, model, row_shape, values=None):
        _fork.check()
        self.dtype = np.dtype(rows_dtype(model))
        key = (fingerprint(model), tuple(row_shape), "forward")
        self._program = PROGRAMS.get(key, lambda: ForwardProgram(model, row_shape))
        own = [v._value for v in model.variables]
        if values is not None:
            own = [
                tf.Variable(value, dtype=of.dtype, trainable=of.trainable)
                for value, of in zip(values, own, strict=True)
            ]
        self._values = [*own, *(v._value for v in constants_of(model))]

    def __call__(self, x):
        """Return the outputs of rows x, as a float64 array."""
        _fork.check()
        return self._program(self._values, x)
