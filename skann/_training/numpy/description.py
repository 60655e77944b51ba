"""What is known of a dense stack, and which Keras models are known to be one.

What is common among small networks: dense layers, the losses of regression and
classification. It is computed in NumPy, in ``_stack.py``.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np

from skann._network.layers import (
    is_keras_activation,
    is_plain_dense,
    passes_on,
    shares_no_variable,
)
from skann._network.unit import Unit, unit_layer, unit_of
from skann._training.fingerprint.libraries import is_as_made

ACTIVATIONS = {"linear", "relu", "tanh", "sigmoid"}

# The output activations that a loss may follow. Keras computes cross-entropies of what
# comes before a sigmoid or softmax.
_LOSSES = {
    keras.losses.MeanSquaredError: ACTIVATIONS,
    keras.losses.MeanAbsoluteError: ACTIVATIONS,
    keras.losses.BinaryCrossentropy: {"sigmoid"},
    keras.losses.CategoricalCrossentropy: {"softmax"},
    keras.losses.SparseCategoricalCrossentropy: {"softmax"},
}
_FUNCTIONS = {
    keras.losses.MeanSquaredError: keras.losses.mean_squared_error,
    keras.losses.MeanAbsoluteError: keras.losses.mean_absolute_error,
    keras.losses.BinaryCrossentropy: keras.losses.binary_crossentropy,
    keras.losses.CategoricalCrossentropy: keras.losses.categorical_crossentropy,
    keras.losses.SparseCategoricalCrossentropy: (
        keras.losses.sparse_categorical_crossentropy
    ),
}
_LOSS_SETTINGS = {
    "reduction": "sum_over_batch_size",
    "from_logits": False,
    "label_smoothing": 0.0,
    "ignore_class": None,
    "axis": -1,
}


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer: its shape, the name of its activation, its kernel's penalty."""

    n_inputs: int
    n_outputs: int
    activation: str
    use_bias: bool = True
    l1: float = 0.0
    l2: float = 0.0

    @property
    def shapes(self):
        """Shapes of the kernel, and of the bias if there is one."""
        kernel, bias = (self.n_inputs, self.n_outputs), (self.n_outputs,)
        return [kernel, bias] if self.use_bias else [kernel]


@dataclass(frozen=True)
class Description:
    """A stack of dense layers, its loss (a class of Keras'), its type and y's unit."""

    layers: tuple
    loss: type
    dtype: str
    unit: Unit | None = None

    @property
    def shapes(self):
        """Shapes of the layers' kernels and biases in turn."""
        return [shape for layer in self.layers for shape in layer.shapes]

    @property
    def n_parameters(self):
        """Number of weights and biases."""
        return sum(map(math.prod, self.shapes))

    def as_learned(self, feed):
        """Return a feed with its targets as these layers learn them: normalised."""
        if feed is None or self.unit is None:
            return feed
        return feed.with_targets(self.unit.normalised(feed.y))

    def views(self, vector):
        """Return the parts of a vector that are the kernels and biases in turn."""
        parts, start = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            parts.append(vector[start : start + size].reshape(shape))
            start += size
        return parts


def described(model):
    """Return the description of a model for which `is_known` holds."""
    layers = dense_layers(model)
    description = tuple(map(_described_layer, layers))
    kind = type(model.loss), layers[0].variable_dtype
    return Description(description, *kind, unit_of(model))


def dense_layers(model):
    """Return the dense layers of a model for which `is_known` holds."""
    return [x for x in model.layers if isinstance(x, keras.layers.Dense)]


def _described_layer(layer):
    penalty = layer.kernel_regularizer
    return DenseLayer(
        *map(int, layer.kernel.shape),
        layer.activation.__name__,
        layer.use_bias,
        l1=cast(getattr(penalty, "l1", 0.0)),
        l2=cast(getattr(penalty, "l2", 0.0)),
    )


def is_known(model, row_shape, dropout=False):
    """Whether a compiled model is a stack whose loss can be computed here.

    With `dropout`, it may have dropout layers, which do nothing in an evaluation.
    """
    if type(model) is not keras.Sequential or model.run_eagerly:
        return False
    if not is_as_made(model):
        return False
    unit = unit_layer(model)
    layers = list(model.layers)[: None if unit is None else -1]
    passing = []
    if layers and type(layers[0]) is keras.layers.Flatten:
        passing.append(layers.pop(0))
    elif len(row_shape) != 1:
        return False
    if dropout:
        passing += [x for x in layers if type(x) is keras.layers.Dropout]
        layers = [x for x in layers if type(x) is not keras.layers.Dropout]
    if not all(map(passes_on, passing)):
        return False
    if not layers or not all(map(_is_known_layer, layers)):
        return False
    if not shares_no_variable(model):
        return False
    if any(layer.activation.__name__ == "softmax" for layer in layers[:-1]):
        return False
    given = model._compile_config.config if model._compile_config else {}
    parts = [given.get(k) for k in ("metrics", "weighted_metrics", "loss_weights")]
    if any(part is not None and part != [] for part in parts):
        return False
    dtype, last = layers[0].compute_dtype, layers[-1].activation.__name__
    layers += passing
    return all(_dtypes(layer) == {dtype} for layer in layers) and _is_known_loss(
        model, last, dtype if unit is None else "float64"
    )


def _dtypes(layer):
    return {layer.compute_dtype, layer.variable_dtype}


def _is_known_layer(layer):
    return (
        is_plain_dense(layer)
        and layer.trainable
        and is_keras_activation(layer.activation, {*ACTIVATIONS, "softmax"})
        and layer.compute_dtype in ("float32", "float64")
    )


def _is_known_loss(model, activation, dtype):
    # What is computed, whatever has become of ``model.loss`` since it was compiled.
    keeper, loss = model._compile_loss, model.loss
    if keeper is None:
        return False
    computed = [keeper._user_loss]  # Before it is built.
    if keeper._flat_losses is not None:
        computed = [part.loss for part in keeper._flat_losses]
    if len(computed) != 1 or computed[0] is not loss:
        return False
    if type(loss) not in _LOSSES or loss.dtype != dtype or not is_as_made(loss):
        return False
    settings = {**loss._fn_kwargs, "reduction": loss.reduction}
    is_its_own = loss.fn is _FUNCTIONS[type(loss)]
    is_known = activation in _LOSSES[type(loss)] and has(settings, _LOSS_SETTINGS)
    return is_its_own and is_known


def has(config, settings):
    """Whether a configuration has these settings, where it has their names."""
    return all(config.get(name, value) == value for name, value in settings.items())


def cast(constant):
    """Return a Python float as ``keras.ops.cast`` does: by way of float32."""
    return float(np.float32(constant))
