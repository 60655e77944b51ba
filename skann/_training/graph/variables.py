"""Variables: read in one go, lent to what is traced, and as a program takes them."""

import numpy as np
import tensorflow as tf

# No public way leads to an operation without the checks of its Python wrapper.
from tensorflow.python import pywrap_tfe
from tensorflow.python.eager import context as tf_context

from skann._network.unit import constants_of
from skann._training.graph.lending import own_values
from skann._training.graph.widths import cut, pad


def read(values):
    """Return the values of tensorflow's variables as read-only arrays.

    As ``variable.numpy()``, in one operation for all of them: it is called at every
    epoch's end and in every prediction. The arrays are tensorflow's own memory, which
    it does not write to while they are held.
    """
    if not values:
        return []
    tensors = pywrap_tfe.TFE_Py_FastPathExecute(
        tf_context.context(),
        "_ReadVariablesOp",
        None,
        [value.handle for value in values],
        "dtypes",
        [value.dtype.as_datatype_enum for value in values],
    )
    return [tensor._numpy() for tensor in tensors]


def weights_of(model):
    """Return the values of a model's weights, as ``model.get_weights`` does, faster."""
    return read(own_values(model.weights))


def values_of(model):
    """Return the values of all of a model's own variables, weights and seeds."""
    return read(own_values(model.variables))


def variables_of(model, unit=None):
    """Return every variable that training uses, each once, in a fixed order.

    The numbers of y's unit are among them: those of `unit`, or else the model's own.
    """
    return [*keras_variables_of(model), *constants_of(model, unit)]


def keras_variables_of(model):
    """Return every variable of Keras' that training uses, in that order."""
    optimizer = getattr(model, "optimizer", None)  # None before it is compiled
    of_optimizer = optimizer.variables if optimizer is not None else []
    variables = [*model.variables, *of_optimizer, *model.metrics_variables]
    return list({id(v): v for v in variables}.values())


def rows_dtype(model):
    """Return the type in which a model is given its rows: what its input declares.

    Elsewhere the number of a category, say, would go by way of floats, which cannot
    hold all of them. A model that declares no input is given floats.
    """
    inputs = getattr(model, "inputs", None)
    return inputs[0].dtype if inputs else input_dtype(model)


def input_dtype(model):
    """Return the floating type in which a model is given its targets and weights.

    That of its weights: a model's own ``variable_dtype`` says nothing of its layers.
    """
    kinds = (v.dtype for v in model.weights)
    return next((k for k in kinds if k in ("float32", "float64")), "float32")


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
            self._keras[i]._value.assign(own)

    def weights(self):
        """Return the values of the model's weights, as they are now."""
        at = {id(v): value for v, value in zip(self._keras, self.values, strict=True)}
        values = read([at[id(v)] for v in self._weights])
        return [
            cut(value, v.shape) for v, value in zip(self._weights, values, strict=True)
        ]
