"""A stack of dense layers and its loss in NumPy, as Keras computes them.

Work is small here, so calls of NumPy count as much as arithmetic. The parameters lie in
one vector, of which the layers' kernels and biases are views: an optimizer's step is a
few operations however many layers there are. Kernel and bias are one matrix, whose last
row is multiplied by a 1 below the layer's inputs: one product computes both, or the
gradients of both. Within a layer a column is a row of data, for the products are faster
so: none has its second factor transposed but one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from skann._runtime.private import mean_loss

# Rows that are evaluated at a time: enough that the overhead is small. Wide ones, which
# may be sparse or on disk, are fewer.
_ROWS = 1024
_BYTES = 8 * 2**20


def _linear(z, out=None):
    return z


def _relu(z, out=None):
    return np.maximum(z, 0.0, out=out)


# Activation, and its derivative as a function of its own output; None is 1. It takes
# the output, for that is written over what the activation was given.
TRAINED_ACTIVATIONS = {
    "linear": (_linear, None),
    "relu": (_relu, lambda a: a > 0),
    "tanh": (np.tanh, lambda a: 1.0 - a * a),
    "sigmoid": (special.expit, lambda a: a * (1.0 - a)),
}


def _mean(losses):
    """Return the mean over the outputs; NumPy's own takes several times as long."""
    return np.add.reduce(losses) / len(losses)


def _squared_error(y, z, last):
    a = last.activate(z)
    difference = a - y
    delta = (2.0 / len(y)) * difference
    if last.slope is not None:
        delta *= last.slope(a)
    difference = _in_unit(difference, last)
    return _mean(difference * difference), delta


def _absolute_error(y, z, last):
    a = last.activate(z)
    difference = a - y
    delta = np.sign(difference) / len(y)
    if last.slope is not None:
        delta *= last.slope(a)
    return _mean(np.abs(_in_unit(difference, last))), delta


def _in_unit(difference, last):
    """Return differences of a normalised y, a row for each output, in y's own unit."""
    return difference if last.scale is None else difference * last.scale


def _binary_crossentropy(y, z, last):
    losses = np.maximum(z, 0.0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return _mean(losses), (special.expit(z) - y) / len(y)


def _softmax(z):
    """Return shifted outputs, their softmax, and the logarithm of its denominator."""
    z = z - np.maximum.reduce(z)
    share = np.exp(z)
    total = np.add.reduce(share)
    share /= total
    return z, share, np.log(total)


def _categorical_crossentropy(y, z, last):
    z, delta, log_total = _softmax(z)
    weight = np.add.reduce(y)
    losses = log_total * weight - np.add.reduce(y * z)
    delta *= weight
    delta -= y
    return losses, delta


def _sparse_categorical_crossentropy(y, z, last):
    z, delta, log_total = _softmax(z)
    at = y[0] * z.shape[1] + np.arange(z.shape[1])
    losses = log_total - z.reshape(-1)[at]
    delta.reshape(-1)[at] -= 1.0
    return losses, delta


# Each takes targets, outputs before their activation, a column for each row of data,
# and the last layer; it returns the loss of each row and its gradient before the
# activation.
_LOSSES = {
    "mean_squared_error": _squared_error,
    "mean_absolute_error": _absolute_error,
    "binary_crossentropy": _binary_crossentropy,
    "categorical_crossentropy": _categorical_crossentropy,
    "sparse_categorical_crossentropy": _sparse_categorical_crossentropy,
}


@dataclass
class _Layer:
    """A dense layer: views of the parameters and their gradients, and its functions."""

    # Of shape (n_inputs + 1, n_outputs), or without the 1 where there is no bias.
    weights: np.ndarray
    gradient: np.ndarray
    n_inputs: int
    activate: Callable[..., np.ndarray]
    slope: Callable[..., np.ndarray] | None
    l1: float
    l2: float
    # Of y's unit, if the layer is the last one: of shape (n_outputs, 1).
    scale: np.ndarray | None = None

    def __post_init__(self):
        self.kernel = self.weights[: self.n_inputs]


class Stack:
    """A dense stack's parameters, its loss, and the gradient of that.

    Parameters
    ----------
    description : Description

    Attributes
    ----------
    parameters, gradient : ndarray of shape (n_parameters,)
        Kernel and bias of each layer in turn.
    """

    def __init__(self, description):
        self._loss = _LOSSES[description.loss]
        self._scale = description.inputs
        self.parameters = np.zeros(description.n_parameters, description.dtype)
        self.gradient = np.zeros_like(self.parameters)
        self._parts = description.views(self.parameters)
        self._layers, start = [], 0
        for layer in description.layers:
            self._layers.append(_laid_out(layer, start, self.parameters, self.gradient))
            start += self._layers[-1].weights.size
        if description.unit is not None:
            self._layers[-1].scale = description.unit.scale[:, None]
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
        if self._scale is not None:
            x = self._scale.applied(x)
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
        for layer, outputs, inputs in room.forward:
            np.dot(layer.weights.T, x, out=outputs)
            layer.activate(outputs, out=outputs)
            x = inputs
        return np.dot(self._layers[-1].weights.T, x)

    def _losses(self, z, y, weight=None):
        """Return the loss of each row and its gradient, weighted."""
        losses, delta = self._loss(y.T, z, self._layers[-1])
        if weight is not None:
            losses, delta = losses * weight, delta * weight
        return losses, delta

    def differentiate(self, x, y, weight=None):
        """Compute the gradient on one batch of `inputs` and return its loss."""
        n_rows = len(x)
        room = self._room(n_rows)
        losses, delta = self._losses(self._forward(x.T, room), y, weight)
        delta /= n_rows
        for layer, inputs, outputs, slope, below in room.backward:
            np.dot(inputs, delta.T, out=layer.gradient)
            delta = np.dot(layer.kernel, delta, out=below)
            if slope is not None:
                delta *= slope(outputs)
        np.dot(x.T, delta.T, out=self._layers[0].gradient)
        for layer in self._penalized:
            gradient, kernel = layer.gradient[: layer.n_inputs], layer.kernel
            gradient += layer.l1 * np.sign(kernel) + 2.0 * layer.l2 * kernel
        return np.add.reduce(losses) / n_rows + self._penalty()

    def evaluate(self, feed, n_rows=None):
        """Return the loss on all rows of a feed, or the first ones, as logs."""
        total, end = 0.0, min(len(feed), n_rows or len(feed))
        with np.errstate(all="ignore"):
            size = min(_ROWS, max(1, _BYTES // feed.row_bytes))
            for start in range(0, end, size):
                stop = min(start + size, end)
                x, *rest = feed.take(np.arange(start, stop))
                z = self._forward(self.inputs(x).T, self._room(len(x)))
                total += self._losses(z, *rest)[0].sum(dtype=np.float64)
            return as_logs(total / end + self._penalty())

    def _penalty(self):
        return sum(
            layer.l1 * np.abs(layer.kernel).sum()
            + layer.l2 * np.square(layer.kernel).sum()
            for layer in self._penalized
        )


class _Room:
    """Where a stack computes on so many rows; new memory would take longer to have.

    A column is a row of data: outputs and the ones below them are then one array in
    which either part is contiguous.
    """

    def __init__(self, layers, n_rows, dtype):
        later = layers[1:]
        inputs = [np.ones((len(layer.weights), n_rows), dtype) for layer in later]
        outputs = [
            array[: layer.n_inputs] for array, layer in zip(inputs, later, strict=True)
        ]
        slopes = [layer.slope for layer in layers[:-1]]
        deltas = [np.empty_like(array) for array in outputs]
        self.forward = list(zip(layers[:-1], outputs, inputs, strict=True))
        self.backward = list(zip(later, inputs, outputs, slopes, deltas, strict=True))[
            ::-1
        ]


def _laid_out(layer, start, parameters, gradient):
    # A softmax is part of its loss.
    name = "linear" if layer.activation == "softmax" else layer.activation
    activate, slope = TRAINED_ACTIVATIONS[name]
    shape = (layer.n_inputs + layer.use_bias, layer.n_outputs)
    here = slice(start, start + math.prod(shape))
    return _Layer(
        parameters[here].reshape(shape),
        gradient[here].reshape(shape),
        layer.n_inputs,
        activate,
        slope,
        layer.l1,
        layer.l2,
    )


def as_logs(loss):
    """Return logs of a mean loss, infinite where it would be in Keras' float32."""
    with np.errstate(over="ignore"):
        return {"loss": float(np.float32(loss))}


def show_loss(model, logs):
    """Have a model's own metrics give the loss of logs, as callbacks read them."""
    mean = mean_loss(model)
    mean.total.assign(logs["loss"])
    mean.count.assign(1.0)
