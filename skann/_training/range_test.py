"""The learning rate range test: losses at rising rates, and what they say.

References
----------
L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.
A. Géron, "Hands-On Machine Learning with Scikit-Learn, Keras, and TensorFlow", 3rd
edition, O'Reilly 2022, chapter 10: half of the rate above which training diverges.
"""

import math
import statistics
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from scipy.ndimage import gaussian_filter1d

from skann._runtime.start import with_keras
from skann.exceptions import DivergenceError

# From where hardly anything moves to where everything diverges.
MIN_RATE, MAX_RATE = 1e-5, 10.0

# Fewer steps say too little, more of them nothing new.
_FEWEST_STEPS, _MOST_STEPS = 300, 1500

# Of the steps, the width (standard deviation) of the window that smooths the losses.
_SMOOTHING = 0.02

# The test ends where the losses of the last steps are so many times the first ones.
_DIVERGED, _STEPS_LOOKED_AT = 10.0, 20


@dataclass(frozen=True, eq=False)
class RateTest:
    """Result of a range test, as ``skann.search.LearningRateTest`` describes it."""

    rates: np.ndarray = field(repr=False)
    losses: np.ndarray = field(repr=False)
    divergence_rate: float
    suggestion: float

    @classmethod
    def of(cls, rates: np.ndarray, losses: np.ndarray, n_steps: int) -> Self:
        """Judge the losses of the steps that were taken of `n_steps`."""
        # So that a single bad batch does not decide.
        capped = np.minimum(losses, _times(2.0, _level(losses)))
        smooth = gaussian_filter1d(capped, _SMOOTHING * n_steps, mode="nearest")
        divergence_rate = float(rates[np.argmin(smooth)])
        return cls(np.asarray(rates), smooth, divergence_rate, divergence_rate / 2)

    def halved(self) -> Self:
        """Return the test after the suggestion has turned out to diverge."""
        rate = self.suggestion
        return replace(self, divergence_rate=rate, suggestion=rate / 2)


def rates_to_test(n_planned, min_rate=MIN_RATE, max_rate=MAX_RATE):
    """Return as many rising rates as a fit plans steps, within bounds."""
    n_steps = min(max(n_planned, _FEWEST_STEPS), _MOST_STEPS)
    return np.geomspace(min_rate, max_rate, n_steps)


def range_test(model, feed, rates, *, batch_size, row_order, engine, unit=None):
    """Train a step at each rate until the loss diverges, and put the model back.

    Rows far out are met at a few of the rates only. So the suggestion is tried for as
    many steps, the first ones of the fit to come, and halved while training diverges.

    Parameters
    ----------
    model : keras.Model
        Compiled; its variables are created by ``prepare``.
    feed : Feed
        Training rows.
    rates : ndarray of shape (n_steps,)
        Rising.
    batch_size : int
    row_order : callable of (epoch, n_rows)
        Order of the rows in an epoch of the fit to come.
    engine : {"auto", "compiled", "keras"}
    unit : Unit, default=None
        As in ``skann._training.loop.train``.

    Returns
    -------
    RateTest

    Raises
    ------
    ValueError
        If the optimizer's learning rate cannot be set, no loss is reported, or that is
        the same at all rates.
    DivergenceError
        If the loss diverges at the first rates.
    """
    trial = _Trial(model, feed, batch_size, row_order, engine, unit)
    losses = trial.losses(rates)
    if len(losses) < _STEPS_LOOKED_AT:
        raise DivergenceError(
            "The training loss diverged at a learning rate of "
            f"{rates[len(losses)]:.2g} already. Bring X and y to one scale "
            "(StandardScaler, normalize_y='auto'), and look at loss and network."
        )
    if np.ptp(losses) == 0:
        raise ValueError(
            f"The training loss is {losses[0]:.3g} at every learning rate, so that a "
            "range test finds none. Give learning_rate a number."
        )
    test = RateTest.of(rates[: len(losses)], losses, len(rates))
    level = _level(losses)
    while test.suggestion > rates[0]:
        if trial.holds(test.suggestion, len(rates), level):
            break
        test = test.halved()
    return test


class _Trial:
    """Trains a model for some steps at given rates, and puts it back."""

    def __init__(self, model, feed, batch_size, row_order, engine, unit):
        self._model = model
        self._feed = feed
        self._how = {"batch_size": batch_size, "engine": engine, "unit": unit}
        self._row_order = row_order

    def losses(self, rates, level=None):
        """Return the loss of a step at each of the rates, until they have diverged.

        `level` is that of losses from which they may not go far; None takes the first.
        """
        before = with_keras().all_values_of(self._model)
        batches = _Batches(self._row_order, self._how["batch_size"])
        steps = with_keras().losses_by_rate(
            self._model, self._feed, rates, batches=batches, **self._how
        )
        try:
            return _until_diverged(steps, level)
        finally:
            steps.close()
            with_keras().assign_values(self._model, before)

    def holds(self, rate, n_steps, level):
        """Whether training at one rate ends no higher than where losses began."""
        losses = self.losses(np.full(n_steps, rate), level)
        return len(losses) == n_steps and (
            statistics.median(losses[-_STEPS_LOOKED_AT:]) <= level
        )


def _until_diverged(steps, level):
    """Return the losses of the steps up to the one where they have diverged."""
    losses: list[float] = []
    for loss in steps:
        if not math.isfinite(loss):
            break
        last = [*losses[1 - _STEPS_LOOKED_AT :], loss]
        first = _level(losses or last) if level is None else level
        if statistics.median(last) > _times(_DIVERGED, first):
            break
        losses.append(loss)
    return np.array(losses)


def _level(losses):
    """Return the level of the first losses, which a bad batch among them leaves."""
    return statistics.median(losses[:_STEPS_LOOKED_AT])


def _times(factor, level):
    """Return a level so many times as high; a loss may be negative."""
    return level + (factor - 1.0) * abs(level)


class _Batches:
    """Rows of the steps, epoch after epoch as in a fit."""

    def __init__(self, row_order, batch_size):
        self._row_order = row_order
        self._batch_size = batch_size
        self._epoch = 0
        self._rows = np.empty(0, dtype=np.intp)

    def __call__(self, step, n_rows):
        """Return the positions of a step's rows; steps are asked for in turn."""
        if not len(self._rows):
            self._rows = self._row_order(self._epoch, n_rows)
            self._epoch += 1
        batch, self._rows = np.split(self._rows, [self._batch_size])
        return batch
