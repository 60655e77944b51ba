"""A stack of dense layers and its loss in NumPy, as Keras computes them.

Work is small here, so calls of NumPy count as much as arithmetic. The parameters lie in
one vector, of which the layers' kernels and biases are views: an optimizer's step is a
few operations however many layers there are. Kernel and bias are one matrix, whose last
row is multiplied by a 1 in every row of the layer's inputs: one product computes both,
or the gradients of both.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
from scipy import special

from skann.training._layers import is_keras_activation, is_plain_dense

# Rows that are evaluated at a time: enough that the overhead is small.
_ROWS = 1024


def _linear(z, out=None):
    return z


def _relu(z, out=None):
    return np.maximum(z, 0.0, out=out)


# Activation, and its derivative as a function of its own output; None is 1.
_ACTIVATIONS = {
    "linear": (_linear, None),
    "relu": (_relu, lambda a: a > 0),
    "tanh": (np.tanh, lambda a: 1.0 - a * a),
    "sigmoid": (special.expit, lambda a: a * (1.0 - a)),
}


def _mean(losses):
    """Return the mean over the columns; NumPy's own takes several times as long."""
    return np.add.reduce(losses, axis=1) / losses.shape[1]


def _squared_error(y, z, last):
    a = last.activate(z)
    difference = a - y
    delta = (2.0 / y.shape[1]) * difference
    if last.slope is not None:
        delta *= last.slope(a)
    return _mean(difference * difference), delta


def _absolute_error(y, z, last):
    a = last.activate(z)
    difference = a - y
    delta = np.sign(difference) / y.shape[1]
    if last.slope is not None:
        delta *= last.slope(a)
    return _mean(np.abs(difference)), delta


def _binary_crossentropy(y, z, last):
    losses = np.maximum(z, 0.0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return _mean(losses), (special.expit(z) - y) / y.shape[1]


def _categorical_crossentropy(y, z, last):
    z = z - z.max(axis=1, keepdims=True)
    delta = np.exp(z)
    total = delta.sum(axis=1, keepdims=True)
    delta /= total
    losses = np.log(total[:, 0]) * y.sum(axis=1) - np.sum(y * z, axis=1)
    delta *= y.sum(axis=1, keepdims=True)
    delta -= y
    return losses, delta


def _sparse_categorical_crossentropy(y, z, last):
    rows, classes = np.arange(len(y)), y[:, 0]
    z = z - z.max(axis=1, keepdims=True)
    delta = np.exp(z)
    total = delta.sum(axis=1, keepdims=True)
    delta /= total
    losses = np.log(total[:, 0]) - z[rows, classes]
    delta[rows, classes] -= 1.0
    return losses, delta


# Each takes targets, outputs before their activation, and the last layer; it returns
# the loss of each row and its gradient before the activation. Keras computes
# cross-entropies of what comes before a sigmoid or softmax, too.
_LOSSES = {
    keras.losses.MeanSquaredError: (_squared_error, set(_ACTIVATIONS)),
    keras.losses.MeanAbsoluteError: (_absolute_error, set(_ACTIVATIONS)),
    keras.losses.BinaryCrossentropy: (_binary_crossentropy, {"sigmoid"}),
    keras.losses.CategoricalCrossentropy: (_categorical_crossentropy, {"softmax"}),
    keras.losses.SparseCategoricalCrossentropy: (
        _sparse_categorical_crossentropy,
        {"softmax"},
    ),
}
_LOSS_SETTINGS = {
    "reduction": "sum_over_batch_size",
    "from_logits": False,
    "label_smoothing": 0.0,
    "ignore_class": None,
    "axis": -1,
}


def is_known(model, row_shape, dropout=False):
    """Whether a compiled model is a stack whose loss can be computed here.

    With `dropout`, it may have dropout layers, which do nothing in an evaluation.
    """
    if type(model) is not keras.Sequential or model.run_eagerly:
        return False
    layers = list(model.layers)
    if layers and type(layers[0]) is keras.layers.Flatten:
        layers = layers[1:]
    elif len(row_shape) != 1:
        return False
    if dropout:
        layers = [x for x in layers if type(x) is not keras.layers.Dropout]
    if not layers or not all(map(_is_known_layer, layers)):
        return False
    if any(layer.activation.__name__ == "softmax" for layer in layers[:-1]):
        return False
    given = model._compile_config.config if model._compile_config else {}
    if any(given.get(k) for k in ("metrics", "weighted_metrics", "loss_weights")):
        return False
    dtype = layers[0].compute_dtype
    return all(_dtypes(layer) == {dtype} for layer in layers) and _is_known_loss(
        model.loss, layers[-1].activation.__name__, dtype
    )


def _dtypes(layer):
    return {layer.compute_dtype, layer.variable_dtype}


def _is_known_layer(layer):
    return (
        is_plain_dense(layer)
        and layer.trainable
        and is_keras_activation(layer.activation, {*_ACTIVATIONS, "softmax"})
        and layer.compute_dtype in ("float32", "float64")
    )


def _is_known_loss(loss, activation, dtype):
    if type(loss) not in _LOSSES or loss.dtype != dtype:
        return False
    config = loss.get_config() | {"reduction": loss.reduction}
    return activation in _LOSSES[type(loss)][1] and has(config, _LOSS_SETTINGS)


def has(config, settings):
    """Whether a configuration has these settings, where it has their names."""
    return all(config.get(name, value) == value for name, value in settings.items())


def cast(constant):
    """Return a Python float as ``keras.ops.cast`` does: by way of float32."""
    return float(np.float32(constant))


@dataclass
class _Layer:
    """A dense layer: views of the parameters and their gradients, and its functions."""

    # Of shape (n_inputs + 1, n_outputs), or without the 1 where there is no bias.
    weights: np.ndarray
    gradient: np.ndarray
    n_inputs: int
    activate: object
    slope: object
    l1: float
    l2: float

    @property
    def kernel(self):
        return self.weights[: self.n_inputs]


class Stack:
    """A dense stack's parameters, its loss, and the gradient of that.

    Parameters
    ----------
    model : keras.Sequential
        For which `is_known` holds.
    dtype : dtype
        Of the model's variables.

    Attributes
    ----------
    parameters, gradient : ndarray of shape (n_parameters,)
        Kernel and bias of each layer in turn.
    """

    def __init__(self, model, dtype):
        dense = [x for x in model.layers if isinstance(x, keras.layers.Dense)]
        self.variables = [v for layer in dense for v in layer.weights]
        self._loss = _LOSSES[type(model.loss)][0]
        size = sum(math.prod(v.shape) for v in self.variables)
        self.parameters = np.zeros(size, dtype)
        self.gradient = np.zeros(size, dtype)
        self._parts = views(self.parameters, self.variables)
        self._layers, start = [], 0
        for layer in dense:
            self._layers.append(_laid_out(layer, start, self.parameters, self.gradient))
            start += self._layers[-1].weights.size
        self._penalized = [layer for layer in self._layers if layer.l1 or layer.l2]
        self._rooms = {}

    def weights(self):
        """Return copies of the layers' kernels and biases."""
        return [part.copy() for part in self._parts]

    def set_weights(self, weights):
        """Take values of the layers' kernels and biases."""
        for part, value in zip(self._parts, weights, strict=True):
            part[...] = value

    def inputs(self, x):
        """Return rows as the first layer takes them."""
        x = x.reshape(len(x), -1)
        n_inputs = len(self._layers[0].weights)
        if x.shape[1] == n_inputs:
            return x
        inputs = np.ones((len(x), n_inputs), self.parameters.dtype)
        inputs[:, :-1] = x
        return inputs

    def _room(self, n_rows):
        if n_rows not in self._rooms:
            self._rooms[n_rows] = _Room(self._layers, n_rows, self.parameters.dtype)
        return self._rooms[n_rows]

    def _forward(self, x, room):
        """Return the outputs before their activation, and keep what layers take."""
        room.inputs[0] = x
        for i, layer in enumerate(self._layers[:-1]):
            inputs = room.inputs[i + 1]
            np.matmul(room.inputs[i], layer.weights, out=room.outputs[i])
            layer.activate(inputs, out=inputs)
            if room.ones[i] is not None:
                room.ones[i][...] = 1.0
        return room.inputs[-1] @ self._layers[-1].weights

    def _losses(self, z, y, weight=None):
        """Return the loss of each row and its gradient, weighted."""
        losses, delta = self._loss(y, z, self._layers[-1])
        if weight is not None:
            losses, delta = losses * weight, delta * weight[:, np.newaxis]
        return losses, delta

    def differentiate(self, x, y, weight=None):
        """Compute the gradient on one batch of `inputs` and return its loss."""
        n_rows = len(x)
        room = self._room(n_rows)
        losses, delta = self._losses(self._forward(x, room), y, weight)
        delta /= n_rows
        for i in range(len(self._layers) - 1, -1, -1):
            layer, inputs = self._layers[i], room.inputs[i]
            np.matmul(inputs.T, delta, out=layer.gradient)
            if not i:
                break
            # Also of the column of ones, which nothing comes of.
            whole = np.matmul(delta, layer.weights.T, out=room.deltas[i])
            slope = self._layers[i - 1].slope
            if slope is not None:
                whole *= slope(inputs)
            delta = whole[:, : layer.n_inputs]
        for layer in self._penalized:
            gradient, kernel = layer.gradient[: layer.n_inputs], layer.kernel
            gradient += layer.l1 * np.sign(kernel) + 2.0 * layer.l2 * kernel
        return np.add.reduce(losses) / n_rows + self._penalty()

    def evaluate(self, feed):
        """Return the loss on all rows of a feed, as logs."""
        total = 0.0
        with np.errstate(all="ignore"):
            for start in range(0, len(feed), _ROWS):
                stop = min(start + _ROWS, len(feed))
                x, *rest = feed.take(np.arange(start, stop))
                z = self._forward(self.inputs(x), self._room(len(x)))
                total += self._losses(z, *rest)[0].sum(dtype=np.float64)
            return as_logs(total / len(feed) + self._penalty())

    def _penalty(self):
        return sum(
            layer.l1 * np.abs(layer.kernel).sum()
            + layer.l2 * np.square(layer.kernel).sum()
            for layer in self._penalized
        )


class _Room:
    """Where a stack computes on so many rows; new memory would take longer to have."""

    def __init__(self, layers, n_rows, dtype):
        shapes = [(n_rows, len(layer.weights)) for layer in layers]
        # What each layer takes: the first one's are given, and the others hold the
        # outputs of the layer before, and perhaps a column of ones.
        self.inputs = [None, *(np.ones(shape, dtype) for shape in shapes[1:])]
        widths = [layer.n_inputs for layer in layers[1:]]
        later = list(zip(self.inputs[1:], widths, strict=True))
        self.outputs = [inputs[:, :width] for inputs, width in later]
        # Some activations make something else of a one.
        self.ones = [
            None if layer.activate is _relu else inputs[:, width:]
            for layer, (inputs, width) in zip(layers, later, strict=False)
        ]
        self.deltas = [np.empty(shape, dtype) for shape in shapes]


def _laid_out(layer, start, parameters, gradient):
    penalty = layer.kernel_regularizer
    # A softmax is part of its loss.
    linear = _ACTIVATIONS["linear"]
    activate, slope = _ACTIVATIONS.get(layer.activation.__name__, linear)
    n_inputs, n_outputs = layer.kernel.shape
    shape = (n_inputs + layer.use_bias, n_outputs)
    here = slice(start, start + math.prod(shape))
    return _Layer(
        parameters[here].reshape(shape),
        gradient[here].reshape(shape),
        n_inputs,
        activate,
        slope,
        l1=cast(getattr(penalty, "l1", 0.0)),
        l2=cast(getattr(penalty, "l2", 0.0)),
    )


def as_logs(loss):
    """Return logs of a mean loss, infinite where it would be in Keras' float32."""
    with np.errstate(over="ignore"):
        return {"loss": float(np.float32(loss))}


def views(vector, variables):
    """Return the parts of a vector in the shapes of these variables, in turn."""
    parts, start = [], 0
    for variable in variables:
        shape = tuple(variable.shape)
        size = math.prod(shape)
        parts.append(vector[start : start + size].reshape(shape))
        start += size
    return parts


class Evaluation:
    """The loss of a dense stack on validation rows."""

    def __init__(self, model, feed):
        self._feed = feed
        self._stack = Stack(model, feed.dtype)

    def logs(self, weights):
        """Return the logs (dict of float) for the model's weights."""
        self._stack.set_weights(weights)
        return self._stack.evaluate(self._feed)
