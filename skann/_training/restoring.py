"""Callbacks of the engine's own, which need no model to look at."""

import operator
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from skann._keras.lending import own_values
from skann._keras.variables import read, weights_of
from skann._runtime.private import model_of


class ReadsWeights(keras.callbacks.Callback):
    """A callback that is told the weights, so that no model need have them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._read = None

    def read_from(self, current_weights):
        """Take a function that returns the weights as they are at an epoch's end.

        None stands for the model's own.
        """
        self._read = current_weights

    def current_weights(self):
        """Return the weights as they are now."""
        return weights_of(model_of(self)) if self._read is None else self._read()


class EarlyStopping(ReadsWeights, keras.callbacks.EarlyStopping):
    """Keras' early stopping, on the weights that it is told.

    Where it puts weights back, ``Restore`` has it do so. Its mode is "min" or "max".
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Keras compares by its `ops`, which takes as long as a small epoch.
        falls = self.mode == "min"
        self.monitor_op = operator.lt if falls else operator.gt
        self.min_delta *= -1 if falls else 1

    restore = keras.callbacks.EarlyStopping.on_train_end
    monitor_op: Callable[..., Any]
    best: float | None

    def on_train_end(self, logs=None):
        """Do nothing: the weights have been put back."""

    @property
    def model(self):
        """The model, with ``get_weights`` from where they are."""
        return _Lent(model_of(self), self.current_weights)

    def on_epoch_end(self, epoch, logs=None):
        """Stop, or keep the weights, as Keras does; any epoch is better than NaN."""
        # Nothing compares with it: none would be better than a first one of NaN.
        if self.best is not None and np.isnan(self.best):
            self.best = None
        super().on_epoch_end(epoch, logs)


class _Lent:
    """A model whose weights are read elsewhere."""

    def __init__(self, model, get_weights):
        vars(self).update(_model=model, get_weights=get_weights)

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __setattr__(self, name, value):
        setattr(self._model, name, value)


class Restore(ReadsWeights):
    """Has callbacks put weights back, before any other hears that training ended."""

    def __init__(self, *keepers):
        super().__init__()
        self._keepers = keepers

    def on_train_end(self, logs=None):
        """Put weights back, each of the keepers in turn."""
        for keeper in self._keepers:
            keeper.restore()


def restored_epoch(callbacks):
    """Return the number of the epoch whose weights early stopping put back, or None.

    Several do so one after the other, the engine's own before those of Keras.
    """
    keepers = [c for c in callbacks if isinstance(c, keras.callbacks.EarlyStopping)]
    keepers.sort(key=lambda keeper: not isinstance(keeper, EarlyStopping))
    epochs = [
        keeper.best_epoch
        for keeper in keepers
        if keeper.restore_best_weights and keeper.best_weights is not None
    ]
    return epochs[-1] if epochs else None


class KeepFinite(ReadsWeights):
    """Stop a fit whose loss is no longer finite, and keep the last finite weights.

    The optimizer's state goes back with them: moments that are NaN would spoil all
    training to come. It is the last of the callbacks, and keeps what all others have
    put in the logs.

    Parameters
    ----------
    unit : Unit or None
        Y's. In an extreme one a loss may be infinite though training goes well: then
        the weights decide.

    Attributes
    ----------
    first_epoch : int or None
        Number of the epoch that came first; a restart begins with a later one.
    diverged_epoch : int or None
        Number of the epoch, from 0, whose loss was NaN or infinite.
    weights : list of ndarray or None
        Weights after the last epoch that ended well.
    """

    def __init__(self, unit=None):
        super().__init__()
        self._judges_loss = unit is None or not unit.is_extreme
        self._logs = []
        self.first_epoch = None
        self.diverged_epoch = None
        self.weights = None
        self._optimizer: Any = None

    def keep_optimizer(self, trainer):
        """Take what has ``optimizer_state`` and ``set_optimizer_state``.

        Without it, the state is that of the model's optimizer.
        """
        self._optimizer = trainer

    def on_train_begin(self, logs=None):
        """Keep the optimizer's state, to go back to."""
        if self._optimizer is None:
            self._optimizer = _OptimizerOf(self.model)
        self._states = [self._optimizer.optimizer_state()] * 2

    def on_epoch_end(self, epoch, logs=None):
        """Stop at a loss or weights that are not finite; else keep the weights."""
        if self.first_epoch is None:
            self.first_epoch = epoch
        self._logs.append(dict(logs or {}))
        weights = self.current_weights()
        loss = (logs or {}).get("loss", 0.0) if self._judges_loss else 0.0
        if np.isfinite(loss) and _all_finite(weights):
            self.weights = weights
            self._states[-1] = self._optimizer.optimizer_state()
        else:
            self.diverged_epoch = epoch
            self.model.stop_training = True
            # The loss can be finite still where moments have overflowed.
            first, last = self._states
            state = last if _all_finite(last) else first
            self._optimizer.set_optimizer_state(state)

    @property
    def history(self):
        """What the epochs reported (dict of list); NaN where one did not."""
        names = dict.fromkeys(name for logs in self._logs for name in logs)
        return {name: [logs.get(name, np.nan) for logs in self._logs] for name in names}

    def restore(self):
        """Put finite weights back, unless early stopping has done so already."""
        if self.diverged_epoch is None or self.weights is None:
            return
        if not _all_finite(self.model.get_weights()):
            self.model.set_weights(self.weights)


def _all_finite(weights):
    return all(np.isfinite(w).all() for w in weights if w.dtype.kind == "f")


class _OptimizerOf:
    """The optimizer of a model that has its variables at every epoch's end."""

    def __init__(self, model):
        self._model = model

    def _values(self):
        optimizer = self._model.optimizer
        return [] if optimizer is None else own_values(optimizer.variables)

    def optimizer_state(self):
        return read(self._values())

    def set_optimizer_state(self, state):
        values = self._values()
        if len(state) != len(values):
            return  # Of another optimizer: a callback has compiled the model anew.
        for variable, value in zip(values, state, strict=True):
            variable.assign(value)
