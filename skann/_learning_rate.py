"""The learning rate range test: losses at rising rates, and what they say.

References
----------
L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow", 3rd
edition, O'Reilly 2022, chapter 10: half of the rate above which training diverges.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from skann._serialisation import assign_values, values_of
from skann.exceptions import DivergenceError
from skann.training import losses_by_rate

# From where hardly anything moves to where everything diverges.
MIN_RATE, MAX_RATE = 1e-5, 10.0

# Fewer steps say too little, more of them nothing new.
_FEWEST_STEPS, _MOST_STEPS = 300, 1500

# Of the steps, the width (standard deviation) of the window that smooths the losses.
_SMOOTHING = 0.02

# The test ends where the losses of the last steps are so many times the first ones.
_DIVERGED, _STEPS_LOOKED_AT = 10.0, 20


@dataclass(frozen=True)
class LearningRateTest:
    """Result of a learning rate range test.

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
        Learning rate of each step until the loss diverged, rising geometrically.
    losses : ndarray of shape (n_steps,)
        Smoothed training loss at each of them.
    divergence_rate : float
        Rate at which the smoothed loss is least: above it, training diverges. The
        smoothing brings it down a little, to the safe side.
    suggestion : float
        Half of that, a rate to train with.

    See Also
    --------
    skann.search.find_learning_rate : Makes such a test.
    skann.plotting.LearningRateDisplay : Its picture.
    """

    rates: np.ndarray
    losses: np.ndarray
    divergence_rate: float
    suggestion: float

    @classmethod
    def of(cls, rates, losses, n_steps):
        """Judge the losses of the steps that were taken of `n_steps`."""
        logs = np.log(np.maximum(losses, np.finfo(float).tiny))
        # Means of logarithms hardly move for one bad batch.
        smooth = np.exp(gaussian_filter1d(logs, _SMOOTHING * n_steps, mode="nearest"))
        divergence_rate = float(rates[np.argmin(smooth)])
        return cls(np.asarray(rates), smooth, divergence_rate, divergence_rate / 2)

    def plot(self, ax=None):
        """Draw the losses by their rates.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. If None, a new figure is made.

        Returns
        -------
        :class:`skann.plotting.LearningRateDisplay`
        """
        from skann.plotting import LearningRateDisplay

        return LearningRateDisplay(self).plot(ax=ax)


def rates_to_test(n_planned, min_rate=MIN_RATE, max_rate=MAX_RATE):
    """Return as many rising rates as a fit plans steps, within bounds."""
    n_steps = min(max(n_planned, _FEWEST_STEPS), _MOST_STEPS)
    return np.geomspace(min_rate, max_rate, n_steps)


def range_test(model, feed, rates, *, batch_size, row_order, engine):
    """Train a step at each rate until the loss diverges, and put the model back.

    Parameters
    ----------
    model : keras.Model
        Compiled; its variables are created by ``prepare``.
    feed : Feed
        Training rows.
    rates : ndarray of shape (n_steps,)
        Rising.
    batch_size : int
    row_order : callable of (pass, n_rows)
        Order of the rows in each pass over them.
    engine : {"auto", "compiled", "keras"}

    Returns
    -------
    LearningRateTest

    Raises
    ------
    ValueError
        If the optimizer's learning rate cannot be set, or no loss is reported.
    DivergenceError
        If the first losses are not finite.
    """
    before = values_of(model)
    steps = losses_by_rate(
        model,
        feed,
        rates,
        batch_size=batch_size,
        batches=_Batches(row_order, batch_size),
        engine=engine,
    )
    try:
        losses = _until_diverged(steps)
    finally:
        steps.close()
        assign_values(model, before)
    if len(losses) < _STEPS_LOOKED_AT:
        raise DivergenceError(
            f"The training loss became infinite or NaN at a learning rate of "
            f"{rates[len(losses)]:.2g}. Bring X to one scale (StandardScaler), and "
            "look at the loss and the network."
        )
    return LearningRateTest.of(rates[: len(losses)], losses, len(rates))


def _until_diverged(steps):
    """Return the losses of the steps up to the one where they have diverged."""
    losses, logs = [], []
    for loss in steps:
        if not np.isfinite(loss):
            break
        losses.append(loss)
        logs.append(np.log(max(loss, np.finfo(float).tiny)))
        first, last = logs[:_STEPS_LOOKED_AT], logs[-_STEPS_LOOKED_AT:]
        if np.mean(last) - np.mean(first) > np.log(_DIVERGED):
            break
    return np.array(losses)


class _Batches:
    """Rows of the steps, pass after pass over all of them."""

    def __init__(self, row_order, batch_size):
        self._row_order = row_order
        self._batch_size = batch_size
        self._passes = 0
        self._rows = np.empty(0, dtype=np.intp)

    def __call__(self, step, n_rows):
        """Return the positions of a step's rows; steps are asked for in turn."""
        size = min(self._batch_size, n_rows)
        if len(self._rows) < size:  # A last batch that would be short is left out.
            self._rows = self._row_order(self._passes, n_rows)
            self._passes += 1
        batch, self._rows = self._rows[:size], self._rows[size:]
        return batch
