"""Randomness: the seeds a fit draws from `random_state`, and a fence for user code.

`random_state` alone decides a fit. Nothing here reads or moves a global generator,
but for the time a user's build function runs: then the global ones are set from
the fit's seed, one such function at a time, and put back as they were.
"""

import copy
import random
import threading
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from skann._runtime import process
from skann._runtime.private import (
    NUMBERS_OF_NAMES,
    RANDOM_SEED,
    SEED_GENERATOR,
    draw_seeds_from,
    get_global,
    keeping_global_seed,
    set_global,
)

_KERAS_GLOBALS = (SEED_GENERATOR, RANDOM_SEED)


@contextmanager
def fresh_names(beside=False):
    """Let Keras number layers, "dense", "dense_1", as in a fresh process.

    A network is then the same, names included, whatever was built before it. Besides,
    tensorflow keeps some 35 KB for every name of a variable that it has not seen yet.

    With `beside`, names are others than those of the layers that were made outside of
    such blocks: the network may hold some of these.
    """
    saved = get_global(NUMBERS_OF_NAMES)
    numbers = copy.copy(saved) if beside else None
    set_global(NUMBERS_OF_NAMES, numbers)
    try:
        yield
    finally:
        set_global(NUMBERS_OF_NAMES, saved)


class _Source:
    """Draws for one block of code as Python's ``random`` does once it is seeded."""

    def __init__(self, seed):
        self._start(seed)

    def _start(self, seed):
        self._seed, self._own = seed, random.Random(seed)

    def randint(self, low, high):
        seed = get_global(RANDOM_SEED)
        if seed != self._seed:  # The build function has called set_random_seed.
            self._start(seed)
        return self._own.randint(low, high)


class _EachThreadsOwn:
    """Stands in for Python's ``random`` in Keras, which has nothing else to draw from.

    The module's generator is everybody's. A thread that builds a network draws from a
    source of its own here, and all others from the module as ever.
    """

    def __init__(self):
        self._n_users = 0
        self._threads = threading.local()

    @contextmanager
    def drawing_from(self, source):
        """Let this thread draw from a source for a block."""
        outer = getattr(self._threads, "source", random)
        with process.LOCK:
            if not self._n_users:
                self._before = draw_seeds_from(self)
            self._n_users += 1
        self._threads.source = source
        try:
            yield
        finally:
            self._threads.source = outer
            with process.LOCK:
                self._n_users -= 1
                if not self._n_users:
                    draw_seeds_from(self._before)

    def __getattr__(self, name):
        return getattr(getattr(self._threads, "source", random), name)


_SOURCES = _EachThreadsOwn()


@contextmanager
def seeded_keras(seed):
    """Have Keras draw initial weights and seeds by a seed, in this thread and block.

    No generator that is anybody else's is read or moved.
    """
    saved = [get_global(name) for name in _KERAS_GLOBALS]
    set_global(RANDOM_SEED, seed)
    set_global(SEED_GENERATOR, None)
    try:
        with _SOURCES.drawing_from(_Source(seed)):
            yield
    finally:
        for name, value in zip(_KERAS_GLOBALS, saved, strict=True):
            set_global(name, value)


@contextmanager
def seeded_globals(seed, tensorflow=True):
    """Set all generators for a block in which code of the user's builds a network.

    Python's, NumPy's and tensorflow's are everybody's: other threads that draw from
    them in such a block draw by its seed. So there is one at a time, and none for
    skann's own networks.

    Setting tensorflow's has it prepare every traced function anew, some 50 ms for each
    that is called again; it is left alone where no weights are to be drawn.
    """
    with seeded_keras(seed), process.fence() as has_fence:
        if not has_fence:
            yield
            return
        saved_python = random.getstate()
        saved_numpy = np.random.get_state()  # noqa: NPY002
        with keeping_global_seed():
            if tensorflow:
                tf.random.set_seed(seed)
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            try:
                yield
            finally:
                random.setstate(saved_python)
                np.random.set_state(saved_numpy)  # noqa: NPY002
