"""A model's variables as a program takes them: some in other shapes."""

import numpy as np
import tensorflow as tf

from skann._keras.lending import own_values
from skann._keras.variables import read, variables_of
from skann._training.graph.widths import cut, pad


class ProgramVariables:
    """A model's variables as a program takes them.

    Most are the model's own. Where the program is for wider layers, others stand in
    for those of another shape.
    """

    def __init__(self, model, unit=None):
        self._keras = variables_of(model, unit)
        self._weights, self._optimizer = model.weights, model.optimizer
        self.values = own_values(self._keras)
        self._padded = []

    def take_shapes(self, shapes):
        """Make stand-ins for variables that a program takes in other shapes."""
        if self._padded:
            return
        for i, (variable, shape) in enumerate(zip(self._keras, shapes, strict=True)):
            if tuple(variable.shape) != shape:
                self.values[i] = tf.Variable(
                    tf.zeros(shape, variable.dtype), trainable=variable.trainable
                )
                self._padded.append(i)
        self._published = [None] * len(self._padded)
        self.pull()

    @property
    def of_optimizer(self):
        """The optimizer's among the variables."""
        optimizer = self._optimizer.variables if self._optimizer is not None else []
        wanted = {id(variable) for variable in optimizer}
        pairs = zip(self._keras, self.values, strict=True)
        return [value for variable, value in pairs if id(variable) in wanted]

    def pull(self):
        """Give the stand-ins what the model's variables hold, where it is new."""
        own = read(own_values([self._keras[i] for i in self._padded]))
        for k, (i, value) in enumerate(zip(self._padded, own, strict=True)):
            known = self._published[k]
            if known is None or not np.array_equal(value, known, equal_nan=True):
                self.values[i].assign(pad(value, self.values[i].shape))
                self._published[k] = value

    def publish(self):
        """Give the model's variables what the stand-ins hold."""
        stand_ins = read([self.values[i] for i in self._padded])
        for k, (i, value) in enumerate(zip(self._padded, stand_ins, strict=True)):
            own = cut(value, self._keras[i].shape)
            self._published[k] = own
            own_values([self._keras[i]])[0].assign(own)

    def weights(self):
        """Return the values of the model's weights, as they are now."""
        at = {id(v): value for v, value in zip(self._keras, self.values, strict=True)}
        values = read([at[id(v)] for v in self._weights])
        return [
            cut(value, v.shape) for v, value in zip(self._weights, values, strict=True)
        ]
