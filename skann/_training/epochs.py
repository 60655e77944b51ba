"""Epochs and Keras callbacks. Nothing of tensorflow is known here.

A callback may say to the loop what it can say to that of ``keras.Model.fit``: where to
begin, when to stop, that the model is compiled anew.
"""

import keras

from skann._runtime.private import compilation, first_epoch
from skann._training.graph.program import NotCompilable, prepare
from skann._training.graph.trainer import finalize
from skann._training.restoring import KeepFinite, ReadsWeights


class UnderWay(Exception):
    """A fit has begun, and must go on by ``keras.Model.fit``.

    Parameters
    ----------
    reason : NotCompilable
    epoch : int
        The epoch to go on with, of whose begin callbacks have heard.
    callbacks : keras.callbacks.CallbackList
    """

    def __init__(self, reason, epoch, callbacks):
        super().__init__(reason)
        self.reason = reason
        self.epoch = epoch
        self.callbacks = callbacks


class Epochs:
    """The epochs of one fit, and the callbacks around each, as Keras calls them.

    Parameters
    ----------
    model : object
        What callbacks know as the model.
    make_trainer : callable
        Returns a ``Trainer`` or ``DenseTrainer`` for the model as it is then.
    feed : Feed
        The training rows.
    callbacks : list of keras.callbacks.Callback
    n_batches, epochs : int
        Steps of an epoch, and the number of the epoch after the last.
    verbose : {0, 1, 2}, default=0
    trainer : Trainer or DenseTrainer, default=None
        One that is there already, as no callback can change the model.
    """

    def __init__(
        self,
        model,
        make_trainer,
        feed,
        callbacks,
        n_batches,
        epochs,
        verbose=0,
        trainer=None,
    ):
        self._model = model
        self._make_trainer = make_trainer
        self._feed = feed
        self._epochs = epochs
        self._trainer = trainer
        self._compilation = _Compilation(model)
        for callback in callbacks:
            if isinstance(callback, ReadsWeights):
                callback.read_from(lambda: self._trainer.weights())
            if trainer is not None and isinstance(callback, KeepFinite):
                callback.keep_optimizer(trainer)
        self._callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=n_batches,
        )
        self._bars = [
            callback
            for callback in self._callbacks.callbacks
            if isinstance(callback, keras.callbacks.ProgbarLogger)
        ]

    @property
    def engine(self):
        """What the steps ran as; of a fit in which nothing was left to do, a graph."""
        return "graph" if self._trainer is None else self._trainer.engine

    def run(self, initial_epoch):
        """Train.

        Raises
        ------
        UnderWay
            If what a callback has made of the model cannot run compiled.
        """
        model, callbacks = self._model, self._callbacks
        model.stop_training = False
        callbacks.on_train_begin()
        logs = None
        for epoch in range(first_epoch(model) or initial_epoch, self._epochs):
            callbacks.on_epoch_begin(epoch)
            self._follow_model(epoch)
            logs = self._epoch(epoch)
            callbacks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        if self._trainer is None:  # Nothing was left to do.
            finalize(model)
        else:
            self._trainer.finish()
        callbacks.on_train_end(logs)

    def _follow_model(self, epoch):
        """Have what trains the model be of the model as it is.

        Keras traces its train step when the first one is taken, and once more where the
        model was compiled anew. What is no variable has no effect in between.
        """
        is_new = self._compilation.is_new()
        if self._trainer is not None and not is_new:
            return
        if is_new:
            prepare(self._model, self._feed)
        try:
            self._trainer = self._make_trainer()
        except NotCompilable as reason:
            raise UnderWay(reason, epoch, self._callbacks) from reason

    def _epoch(self, epoch):
        trainer, model = self._trainer, self._model
        n_batches = trainer.steps
        if model.stop_training:
            # Keras looks whether it is to stop after a step, never before.
            n_batches = min(_steps_at_a_time(model), n_batches)
            logs = trainer.first_batches(epoch, n_batches)
        else:
            logs = trainer.epoch(epoch)
        for bar in self._bars:
            bar.on_train_batch_end(n_batches - 1, logs)
        if trainer.validation is not None:
            logs = {**logs, **self._validate()}
        return logs

    def _validate(self):
        model = self._model
        model.stop_evaluating = False
        self._callbacks.on_test_begin()
        only = _steps_at_a_time(model) if model.stop_evaluating else None
        logs = self._trainer.validate(only)
        self._callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()}


def _steps_at_a_time(model):
    return getattr(model, "steps_per_execution", 1)


class _Compilation:
    """What is another object once a model has been compiled anew.

    The same holds for a train function that a callback has had Keras make.
    """

    def __init__(self, model):
        self._model = model
        self._known = self._parts()

    def _parts(self):
        return [compilation(self._model), getattr(self._model, "train_function", None)]

    def is_new(self):
        """Return whether it is new since it was asked for last."""
        before, self._known = self._known, self._parts()
        return any(a is not b for a, b in zip(before, self._known, strict=True))
