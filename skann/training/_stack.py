"""A stack of dense layers and its loss in NumPy, as Keras computes them.

The parameters lie in one vector, of which the layers' kernels and biases are views, so
that an optimizer's step is a few operations however many layers there are.
"""

from dataclasses import dataclass

import keras
import numpy as np
from scipy import special

from skann.training._layers import is_keras_activation, is_plain_dense

# Rows that are evaluated at a time: enough that the overhead is small.
_ROWS = 1024


def _relu(z):
    return np.maximum(z, 0.0, out=z)


# Activation, and its derivative as a function of its own output; None is 1.
_ACTIVATIONS = {
    "linear": (lambda z: z, None),
    "relu": (_relu, lambda a: a > 0),
    "tanh": (np.tanh, lambda a: 1.0 - a * a),
    "sigmoid": (special.expit, lambda a: a * (1.0 - a)),
}


def _squared_error(y, z, a, slope):
    difference = a - y
    delta = (2.0 / y.shape[1]) * difference
    if slope is not None:
        delta *= slope(a)
    return np.mean(difference * difference, axis=1), delta


def _absolute_error(y, z, a, slope):
    difference = a - y
    delta = np.sign(difference) / y.shape[1]
    if slope is not None:
        delta *= slope(a)
    return np.mean(np.abs(difference), axis=1), delta


def _binary_crossentropy(y, z, a, slope):
    losses = np.maximum(z, 0.0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return np.mean(losses, axis=1), (special.expit(z) - y) / y.shape[1]


def _categorical_crossentropy(y, z, a, slope):
    z = z - z.max(axis=1, keepdims=True)
    delta = np.exp(z)
    total = delta.sum(axis=1, keepdims=True)
    delta /= total
    losses = np.log(total[:, 0]) * y.sum(axis=1) - np.sum(y * z, axis=1)
    delta *= y.sum(axis=1, keepdims=True)
    delta -= y
    return losses, delta


def _sparse_categorical_crossentropy(y, z, a, slope):
    rows, classes = np.arange(len(y)), y[:, 0]
    z = z - z.max(axis=1, keepdims=True)
    delta = np.exp(z)
    total = delta.sum(axis=1, keepdims=True)
    delta /= total
    losses = np.log(total[:, 0]) - z[rows, classes]
    delta[rows, classes] -= 1.0
    return losses, delta


# Each takes targets, and the outputs before and after their activation, whose slope
# comes last; it returns the loss of each row and its gradient before the activation.
# Keras computes cross-entropies of what comes before a sigmoid or softmax, too.
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

    kernel: np.ndarray
    bias: np.ndarray | None
    kernel_gradient: np.ndarray
    bias_gradient: np.ndarray | None
    activate: object
    slope: object
    l1: float
    l2: float


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
        size = sum(int(np.prod(v.shape)) for v in self.variables)
        self.parameters = np.zeros(size, dtype)
        self.gradient = np.zeros(size, dtype)
        parameters = iter(views(self.parameters, self.variables))
        gradients = iter(views(self.gradient, self.variables))
        self._layers = [_lay_out(layer, parameters, gradients) for layer in dense]

    def weights(self):
        """Return copies of the layers' kernels and biases."""
        return [part.copy() for part in views(self.parameters, self.variables)]

    def _forward(self, x):
        """Return every layer's inputs, and the outputs before their activation."""
        inputs = [x]
        for layer in self._layers:
            z = inputs[-1] @ layer.kernel
            if layer.bias is not None:
                z += layer.bias
            if layer is self._layers[-1]:
                return inputs, z
            inputs.append(layer.activate(z))
        raise AssertionError("a stack has layers")

    def _losses(self, z, y, weight=None):
        """Return the loss of each row and its gradient, weighted."""
        last = self._layers[-1]
        losses, delta = self._loss(y, z, last.activate(z.copy()), last.slope)
        if weight is not None:
            losses, delta = losses * weight, delta * weight[:, np.newaxis]
        return losses, delta

    def differentiate(self, x, y, weight=None):
        """Compute the gradient on one batch and return its loss."""
        inputs, z = self._forward(x)
        losses, delta = self._losses(z, y, weight)
        loss = losses.sum() / len(x) + self._penalty()
        delta /= len(x)
        for i in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[i]
            np.matmul(inputs[i].T, delta, out=layer.kernel_gradient)
            if layer.bias is not None:
                delta.sum(axis=0, out=layer.bias_gradient)
            if layer.l1:
                layer.kernel_gradient += layer.l1 * np.sign(layer.kernel)
            if layer.l2:
                layer.kernel_gradient += 2.0 * layer.l2 * layer.kernel
            if i:
                delta = delta @ layer.kernel.T
                slope = self._layers[i - 1].slope
                if slope is not None:
                    delta *= slope(inputs[i])
        return loss

    def evaluate(self, feed):
        """Return the loss on all rows of a feed, as logs."""
        total = 0.0
        with np.errstate(all="ignore"):
            for start in range(0, len(feed), _ROWS):
                stop = min(start + _ROWS, len(feed))
                x, *rest = feed.take(np.arange(start, stop))
                _, z = self._forward(x.reshape(len(x), -1))
                total += self._losses(z, *rest)[0].sum(dtype=np.float64)
            return as_logs(total / len(feed) + self._penalty())

    def _penalty(self):
        return sum(
            layer.l1 * np.abs(layer.kernel).sum()
            + layer.l2 * np.square(layer.kernel).sum()
            for layer in self._layers
            if layer.l1 or layer.l2
        )


def _lay_out(layer, parameters, gradients):
    penalty = layer.kernel_regularizer
    # A softmax is part of its loss.
    linear = _ACTIVATIONS["linear"]
    activate, slope = _ACTIVATIONS.get(layer.activation.__name__, linear)
    kernel, kernel_gradient = next(parameters), next(gradients)
    biased = layer.use_bias
    bias, bias_gradient = (
        (next(parameters), next(gradients)) if biased else (None, None)
    )
    return _Layer(
        kernel,
        bias,
        kernel_gradient,
        bias_gradient,
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
        size = int(np.prod(shape))
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
        for part, value in zip(
            views(self._stack.parameters, self._stack.variables), weights, strict=True
        ):
            part[...] = value
        return self._stack.evaluate(self._feed)
