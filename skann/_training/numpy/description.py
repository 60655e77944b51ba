"""A dense stack, described: its layers, its loss, its optimizer, y's unit.

What is common among small networks, which is computed in NumPy.
"""

import math
from dataclasses import dataclass

import numpy as np

from skann._data.input_scale import InputScale
from skann._data.unit import Unit
from skann._training.numpy.stack import TRAINED_ACTIVATIONS

# The output activations that a loss may follow. Keras computes cross-entropies of what
# comes before a sigmoid or softmax.
LOSSES = {
    "mean_squared_error": set(TRAINED_ACTIVATIONS),
    "mean_absolute_error": set(TRAINED_ACTIVATIONS),
    "binary_crossentropy": {"sigmoid"},
    "categorical_crossentropy": {"softmax"},
    "sparse_categorical_crossentropy": {"softmax"},
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
    """A stack of dense layers, the name of its loss, its type, and units of X and y."""

    layers: tuple[DenseLayer, ...]
    loss: str
    dtype: str
    unit: Unit | None = None
    inputs: InputScale | None = None

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


@dataclass(frozen=True)
class OptimizerSettings:
    """The numbers of Keras' Adam or SGD, but for the learning rate."""

    kind: str  # "adam" or "sgd"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    momentum: float = 0.0
    nesterov: bool = False


def cast(constant):
    """Return a Python float as ``keras.ops.cast`` does: by way of float32."""
    return float(np.float32(constant))
