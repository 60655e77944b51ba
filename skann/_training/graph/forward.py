"""The forward pass of a network that is no plain stack, in tensorflow."""

import numpy as np
import tensorflow as tf

from skann._keras.lending import own_values, standing_in
from skann._keras.structure import as_declared, single
from skann._keras.unit_layer import constants_of, rescaling_by
from skann._keras.variables import rows_dtype
from skann._runtime import fork
from skann._training.graph.cache import PROGRAMS, description_of_outputs

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
        values = own_values(self._variables)
        rows = tf.TensorSpec((None, *row_shape), rows_dtype(model))
        with rescaling_by(model, constants):
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
        return self._run(values, tf.constant(_whole_blocks(x))).numpy()[: len(x)]


def _whole_blocks(x):
    missing = -len(x) % _BLOCK
    return np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)])


class EagerForward:
    """The forward pass of a network that is like no other: it is never traced."""

    def __init__(self, model):
        self._model = model
        self._variables = [*model.variables, *constants_of(model)]

    def __call__(self, values, x):
        padded = _whole_blocks(x)
        starts = range(0, len(padded), _BLOCK)
        with standing_in(self._variables, values):
            blocks = [self._block(padded[i : i + _BLOCK]) for i in starts]
        return np.concatenate(blocks)[: len(x)].astype(np.float64)

    def _block(self, x):
        x = tf.constant(x)
        outputs = self._model(as_declared(self._model, x), training=False)
        return np.asarray(single(outputs))


class Forward:
    """A model's forward pass, by the program of its architecture.

    With `values`, by these in the place of its variables.

    Attributes
    ----------
    dtype : dtype
        Of the rows.
    has_own_code : bool
        Whether it holds code that is no library's, which may read what changes.
    """

    def __init__(self, model, row_shape, values=None):
        fork.check()
        self.dtype = np.dtype(rows_dtype(model))
        self._model = model
        self._description = description = description_of_outputs(model)
        self.has_own_code = description.has_own_code
        if description.is_unique:
            self._program = EagerForward(model)
        else:
            self._program = PROGRAMS.get(
                description,
                (tuple(row_shape), "forward"),
                lambda: ForwardProgram(model, row_shape),
            )
        own = own_values(model.variables)
        if values is not None:
            own = [
                tf.Variable(value, dtype=of.dtype, trainable=of.trainable)
                for value, of in zip(values, own, strict=True)
            ]
        self._values = [*own, *own_values(constants_of(model))]

    def is_up_to_date(self):
        """Whether the model computes as it did, whatever its variables hold."""
        return description_of_outputs(self._model).key == self._description.key

    def __call__(self, x):
        """Return the outputs of rows x, as a float64 array."""
        fork.check()
        return self._program(self._values, x)
