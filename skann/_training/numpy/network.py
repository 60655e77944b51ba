"""A small dense network that has no Keras model: its weights as Keras would draw them.

To make a Keras model takes longer than many a small fit, and tensorflow takes longer
still to start. So the network of such a fit is kept in arrays.

References
----------
J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import math
from dataclasses import replace

import numpy as np

from skann._training.numpy.description import cast


class Adam:
    """The settings of Keras' Adam, where none is given."""

    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7


class SmallNetwork:
    """A dense network with Adam, in arrays.

    Parameters
    ----------
    description : Description
    initializers : list of str
        One of Keras' for the kernel of each layer: "he_uniform" or "glorot_uniform".
    seeds : list of int
        The initializers'.
    learning_rate : float

    Attributes
    ----------
    parameters : ndarray of shape (n_parameters,)
        Kernels and biases in turn. Other values come in another array.
    rate : float
        The learning rate.
    stop_training : bool
    history : keras.callbacks.History
        Both as callbacks leave them with their model.
    """

    optimizer = Adam()

    def __init__(self, description, initializers, seeds, learning_rate):
        self.description = description
        self.stop_training, self.history = False, None
        self.rate = cast(learning_rate)
        self._state = None
        self.parameters = np.zeros(description.n_parameters, description.dtype)
        parts = description.views(self.parameters)
        kernels = [part for part in parts if part.ndim == 2]
        for kernel, name, seed in zip(kernels, initializers, seeds, strict=True):
            kernel[...] = _initial(name, kernel.shape, kernel.dtype, seed)

    @property
    def is_trained(self):
        """Whether training has come to its end."""
        return self._state is not None

    def take_unit(self, unit):
        """Learn a y that is normalised by this unit (Unit)."""
        self.description = replace(self.description, unit=unit)

    def get_weights(self):
        """Return copies of the kernels and biases in turn, as a Keras model does."""
        return [part.copy() for part in self.description.views(self.parameters)]

    def set_weights(self, weights):
        """Take values of the kernels and biases in turn."""
        self.parameters = np.concatenate([np.ravel(value) for value in weights])

    def take(self, parameters, slots):
        """Fill vectors of parameters, and return the number of steps taken."""
        parameters[...] = self.parameters
        return 0

    def give(self, parameters, slots, n_steps):
        """Take the values of vectors of parameters, and the number of steps."""
        self.parameters, self._state = parameters, (slots, n_steps)

    def hand_over(self, state):
        """Give weights and optimizer state to those of a Keras model."""
        state.give(self.parameters, *self._state)


def _initial(name, shape, dtype, seed):
    """Return a kernel as Keras' initializer of this name draws it, bit for bit."""
    fan_in, fan_out = shape
    scale = 2.0 / fan_in if name == "he_uniform" else 2.0 / (fan_in + fan_out)
    limit = dtype.type(cast(math.sqrt(3.0 * scale)))
    return _uniform(shape, dtype, seed) * (limit + limit) - limit


def _uniform(shape, dtype, seed):
    """Return numbers from [0, 1) as ``tf.random.stateless_uniform`` does for [seed, 0].

    tensorflow makes key and counter of a generator of the seed by the same generator,
    with a key of its own, and random bits the mantissas of numbers from [1, 2).
    """
    seed %= 2**31 - 2  # Keras'
    size, zero = math.prod(shape), np.uint64(0)
    seeded = [np.uint64(seed), zero, zero, zero]
    *key, high_1, high_2 = _philox(seeded, (0x3EC8F720, 0x02461E29))
    at = np.arange(-(-size * dtype.itemsize // 16), dtype=np.uint64)
    counter = [at, zero, high_1, high_2]
    words = _philox(counter, [int(word) for word in key])
    bits = np.stack([word.astype(np.uint32) for word in words], axis=1).reshape(-1)
    if dtype == np.float32:
        ones = (bits & np.uint32(2**23 - 1)) | np.uint32(127 << 23)
    else:
        high = bits[::2].astype(np.uint64) & np.uint64(2**20 - 1)
        ones = high << np.uint64(32) | bits[1::2] | np.uint64(1023 << 52)
    return (ones.view(dtype) - dtype.type(1.0))[:size].reshape(shape)


_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_LOW, _32 = np.uint64(2**32 - 1), np.uint64(32)


def _philox(counter, key):
    """Return the four words of Philox4x32-10, in uint64, for a counter of four."""
    a, b, c, d = counter
    for _ in range(10):
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a = (second >> _32) ^ b ^ np.uint64(key[0])
        c = (first >> _32) ^ d ^ np.uint64(key[1])
        b, d = second & _LOW, first & _LOW
        key = [(k + step) % 2**32 for k, step in zip(key, _KEY_STEPS, strict=True)]
    return np.broadcast_arrays(a, b, c, d)
