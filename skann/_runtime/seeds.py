"""The seeds that a fit draws from `random_state`, which alone decides it."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import check_random_state


@dataclass(frozen=True)
class Seeds:
    """The seeds of one fit: initial weights, validation split, order of the rows."""

    weights: int
    split: int
    order: int

    @classmethod
    def draw(cls, random_state):
        """Draw seeds from `random_state` (int, RandomState or None).

        None takes fresh ones from the operating system, where scikit-learn would
        read NumPy's global generator: a fit must not depend on it.
        """
        if random_state is None:
            random_state = np.random.RandomState(np.random.MT19937())
        rng = check_random_state(random_state)
        return cls(*(int(seed) for seed in rng.randint(1, 2**31 - 1, size=3)))

    def row_order(self, epoch, n_rows):
        """Return the order of the training rows in one epoch, of shape (n_rows,).

        It follows from the epoch's number, so that a fit which is interrupted,
        pickled or continued elsewhere goes on as it would have.
        """
        return np.random.default_rng([self.order, epoch]).permutation(n_rows)


def in_order(epoch, n_rows):
    """Return the rows' own order, for every epoch."""
    return np.arange(n_rows)
