"""The unit of y, in which all is said that a user sees; a network learns another."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Unit:
    """What brings outputs to y's unit, one number for each of them.

    Attributes
    ----------
    shift, scale : ndarray of shape (n_outputs,), dtype=float64
        Outputs are multiplied by `scale`, then `shift` is added.
    gradient : ndarray of shape (n_outputs,), dtype=float64
        By what gradients are multiplied on their way back. `scale` is the true one.
    """

    shift: np.ndarray
    scale: np.ndarray
    gradient: np.ndarray

    @property
    def is_extreme(self):
        """Whether squares in this unit may be beyond the range of float32."""
        return not (self.scale.min() > 1e-15 and self.scale.max() < 1e15)

    def normalised(self, y):
        """Map y of shape (n, n_outputs) to what the layers before the last learn."""
        return (y - self.shift) / self.scale
