"""Initial weights as Keras' initializers draw them, bit for bit, in NumPy.

References
----------
J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import math

import numpy as np

from skann._training.numpy.description import cast


def initial_parameters(description, initializers, seeds):
    """Return kernels as Keras draws them and biases of 0, in one vector.

    Parameters
    ----------
    description : Description
    initializers : list of str
        One of Keras' for the kernel of each layer: "he_uniform" or "glorot_uniform".
    seeds : list of int
        The initializers'.
    """
    parameters = np.zeros(description.n_parameters, description.dtype)
    kernels = [part for part in description.views(parameters) if part.ndim == 2]
    for kernel, name, seed in zip(kernels, initializers, seeds, strict=True):
        kernel[...] = _initial(name, kernel.shape, kernel.dtype, seed)
    return parameters


# Keras' variance of a kernel's entries, by the numbers of its inputs and outputs.
VARIANCES = {
    "he_uniform": lambda fan_in, fan_out: 2.0 / fan_in,
    "glorot_uniform": lambda fan_in, fan_out: 2.0 / (fan_in + fan_out),
}


def _initial(name, shape, dtype, seed):
    """Return a kernel as Keras' initializer of this name draws it, bit for bit."""
    limit = dtype.type(cast(math.sqrt(3.0 * VARIANCES[name](*shape))))
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
