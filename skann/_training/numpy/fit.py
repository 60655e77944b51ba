"""A fit of a dense stack in NumPy, from the first epoch to the last."""

import operator
from dataclasses import dataclass

import numpy as np

from skann._runtime.threads import one_blas_thread
from skann._training.numpy.trainer import DenseTrainer
from skann._training.trained import Trained


@dataclass
class EarlyStopping:
    """When a fit is to stop, and which epoch was the best: as Keras' callback does.

    Parameters
    ----------
    monitor : str
    direction : {"min", "max"}
    patience : int
    min_delta : float
    restores : bool
        Whether the weights of the best epoch are put back.
    """

    monitor: str
    direction: str
    patience: int
    min_delta: float
    restores: bool
    best_epoch: int | None = None
    best_parameters: np.ndarray | None = None

    def __post_init__(self):
        rises = self.direction == "max"
        self._is_better = operator.gt if rises else operator.lt
        self._delta = abs(self.min_delta) * (1 if rises else -1)
        self._best, self._wait = None, 0

    def after(self, epoch, logs, parameters):
        """Look at what an epoch reported, and return whether the fit is to stop."""
        current = logs[self.monitor]
        self._wait += 1
        if self._is_improvement(current):
            self._best, self._wait, self.best_epoch = current, 0, epoch
            if self.restores:
                self.best_parameters = parameters.copy()
            return False
        return self._wait >= self.patience and epoch > 0

    def _is_improvement(self, current):
        # Nothing compares with NaN: no epoch would be better than a first one of NaN.
        if self._best is None or np.isnan(self._best):
            return True
        return self._is_better(current - self._delta, self._best)


def train_in_numpy(
    state,
    feed,
    validation,
    *,
    stopping,
    batch_size,
    row_order,
    initial_epoch,
    epochs,
    schedule=None,
):
    """Train a dense stack, whose state is given its values at the end.

    Parameters
    ----------
    state : ArrayState
    feed, validation : Feed
        Training rows, and validation rows or None.
    stopping : EarlyStopping or None
    batch_size : int
    row_order : callable of (epoch, n_rows)
    initial_epoch, epochs : int
        Number of the first epoch, and of the one after the last.
    schedule : Schedule, default=None
        Of the learning rate.

    Returns
    -------
    Trained
    """
    trainer = DenseTrainer(
        None, state, feed, validation, batch_size, row_order, False, schedule
    )
    finite = _Finite(trainer, state.description.unit)
    reported, diverged_epoch = [], None
    with one_blas_thread():
        for epoch in range(initial_epoch, epochs):
            logs = trainer.epoch(epoch)
            if validation is not None:
                logs |= {f"val_{k}": v for k, v in trainer.validate().items()}
            reported.append(logs)
            stops = stopping is not None and stopping.after(
                epoch, logs, trainer.parameters
            )
            if not finite.keep(logs):
                diverged_epoch = epoch
                break
            if stops:
                break
    restored = None
    if stopping is not None and stopping.best_parameters is not None:
        trainer.parameters[...] = stopping.best_parameters
        restored = stopping.best_epoch - initial_epoch
    finite.restore()
    trainer.finish()
    return Trained(
        {name: [logs[name] for logs in reported] for name in reported[0]},
        trainer.engine,
        diverged_epoch,
        diverged_epoch is None or finite.parameters is not None,
        restored,
    )


class _Finite:
    """Keeps the last weights that were finite, with the optimizer's state.

    That goes back with them: moments that are NaN would spoil all training to come.
    """

    def __init__(self, trainer, unit):
        self._trainer = trainer
        # In an extreme unit a loss may be infinite though training goes well.
        self._judges_loss = unit is None or not unit.is_extreme
        self._first = self._last = trainer.optimizer_state()
        self.parameters = None

    def keep(self, logs):
        """Keep what there is after an epoch, or return False where it is not finite."""
        parameters = self._trainer.parameters
        loss = logs["loss"] if self._judges_loss else 0.0
        if np.isfinite(loss) and np.isfinite(parameters).all():
            self.parameters = parameters.copy()
            self._last = self._trainer.optimizer_state()
            return True
        # The loss can be finite still where moments have overflowed.
        is_good = all(np.isfinite(slot).all() for slot in self._last)
        self._trainer.set_optimizer_state(self._last if is_good else self._first)
        return False

    def restore(self):
        """Put the last finite weights back where there are others."""
        parameters = self._trainer.parameters
        if self.parameters is not None and not np.isfinite(parameters).all():
            parameters[...] = self.parameters
