"""Callbacks of the engine's own, which need no model to look at."""

import operator

import keras
import numpy as np

from skann.training._variables import read, weights_of


class ReadsWeights(keras.callbacks.Callback):
    """A callback that is told the weights, so that no model need have them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._read = None

    def read_from(self, current_weights):
        """Take a function that returns the weights as they are at an epoch's end."""
        self._read = current_weights

    def current_weights(self):
        """Return the weights as they are now."""
        return weights_of(self._model) if self._read is None else self._read()


class EarlyStopping(ReadsWeights, keras.callbacks.EarlyStopping):
    """Keras' early stopping, on the weights that it is told."""

    @property
    def model(self):
        """The model, with ``get_weights`` from where they are."""
        return _Lent(self._model, self.current_weights)

    def _set_monitor_op(self):
        # Keras compares by its `ops`, which takes as long as a small epoch.
        super()._set_monitor_op()
        falls = self.monitor_op is keras.ops.less
        self.monitor_op = operator.lt if falls else operator.gt


class _Lent:
    """A model whose weights are read elsewhere."""

    def __init__(self, model, get_weights):
        vars(self).update(_model=model, get_weights=get_weights)

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __setattr__(self, name, value):
        setattr(self._model, name, value)


class KeepFinite(ReadsWeights):
    """Stop a fit whose loss is no longer finite, and keep the last finite weights.

    The optimizer's state goes back with them: moments that are NaN would spoil all
    training to come.

    Parameters
    ----------
    unit : Unit or None
        Y's. In an extreme one a loss may be infinite though training goes well: then
        the weights decide.

    Attributes
    ----------
    diverged_epoch : int or None
        Number of the epoch, from 0, whose loss was NaN or infinite.
    weights : list of ndarray or None
        Weights after the last epoch that ended well.
    """

    def __init__(self, unit=None):
        super().__init__()
        self._judges_loss = unit is None or not unit.is_extreme
        self.diverged_epoch = None
        self.weights = None
        self._optimizer = None

    def keep_optimizer(self, trainer):
        """Take what has ``optimizer_state`` and ``set_optimizer_state``."""
        self._optimizer = trainer

    def on_train_begin(self, logs=None):
        """Keep the optimizer's state, to go back to."""
        if self._optimizer is None:
            self._optimizer = _OptimizerOf(self.model)
        self._states = [self._optimizer.optimizer_state()] * 2

    def on_epoch_end(self, epoch, logs=None):
        """Stop at a loss or weights that are not finite; else keep the weights."""
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

    def on_train_end(self, logs=None):
        """Put finite weights back, unless early stopping has done so already."""
        if self.diverged_epoch is None or self.weights is None:
            return
        if not _all_finite(self.model.get_weights()):
            self.model.set_weights(self.weights)


def _all_finite(weights):
    return all(np.isfinite(w).all() for w in weights if w.dtype.kind == "f")


class _OptimizerOf:
    """The optimizer of a model that Keras trains."""

    def __init__(self, model):
        optimizer = model.optimizer
        variables = [] if optimizer is None else optimizer.variables
        self._values = [variable._value for variable in variables]

    def optimizer_state(self):
        return read(self._values)

    def set_optimizer_state(self, state):
        for variable, value in zip(self._values, state, strict=True):
            variable.assign(value)
