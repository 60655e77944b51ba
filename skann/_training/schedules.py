"""Learning-rate schedules by name: a factor of the learning rate for each step.

References
----------
I. Loshchilov, F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
ICLR 2017: the cosine.
A. Defazio, A. Cutkosky, H. Mehta, K. Mishchenko, "Optimal Linear Decay Learning Rate
Schedules and Further Refinements", 2023 (arXiv:2310.07831): the straight line.
L. N. Smith, N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using
Large Learning Rates", 2018 (arXiv:1708.07120), and L. N. Smith, "A Disciplined Approach
to Neural Network Hyper-Parameters: Part 1", 2018 (arXiv:1803.09820): one cycle. Both
have straight lines; cosines, and these three numbers, are those of J. Howard,
S. Gugger, "Fastai: A Layered API for Deep Learning", Information 11(2), 2020.
D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned MLPs
and Boosted Trees on Tabular Data", NeurIPS 2024: coslog4, and the flat cosine.
"""

from dataclasses import dataclass

import numpy as np

# Of one cycle: the share of the steps in which the rate rises, and the rates at the
# first and the last step, of the greatest.
_WARM_UP, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4


def _cosine(t):
    return (1 + np.cos(np.pi * t)) / 2


def _linear(t):
    return 1 - t


def _one_cycle(t):
    rising = _between(_FIRST, 1.0, t / _WARM_UP)
    falling = _between(1.0, _LAST, (t - _WARM_UP) / (1 - _WARM_UP))
    return np.where(t < _WARM_UP, rising, falling)


def _between(first, last, t):
    """Go from one number to another by half a cosine, while t goes from 0 to 1."""
    return last + (first - last) * _cosine(t)


def _coslog4(t):
    """Go up and down four times, each time for twice as long."""
    return (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t))) / 2


def _flat_cosine(t):
    return _cosine(np.maximum(1, 2 * t) - 1)


# The factor at t, the share of the steps that are done.
FORMULAS = {
    "cosine": _cosine,
    "linear": _linear,
    "one-cycle": _one_cycle,
    "coslog4": _coslog4,
    "flat-cosine": _flat_cosine,
}


@dataclass(frozen=True)
class Schedule:
    """A schedule over the planned epochs of one fit.

    Attributes
    ----------
    name : str
        Of ``FORMULAS``.
    first_epoch, n_epochs : int
        Number of the epoch with which the fit begins, and how many are planned.
    """

    name: str
    first_epoch: int
    n_epochs: int

    def factors(self, epoch: int, n_steps: int) -> np.ndarray:
        """Return the factor of each of the steps of an epoch, float64."""
        n_done = (epoch - self.first_epoch) * n_steps + np.arange(n_steps)
        # A callback may have gone back to an epoch before this fit's first.
        return FORMULAS[self.name](np.maximum(0, n_done) / (self.n_epochs * n_steps))
