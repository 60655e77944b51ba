"""Epochs, Keras callbacks and history. Nothing of tensorflow is known here."""

from dataclasses import dataclass

import keras

from skann.exceptions import EngineError
from skann.training._dense import DenseTrainer, KerasState, is_plain
from skann.training._fallback import train_by_keras
from skann.training._guard import KeepFinite, ReadsWeights
from skann.training._program import NotCompilable, compiling_pays
from skann.training._threads import one_blas_thread
from skann.training._trainer import Trainer


@dataclass(frozen=True)
class Trained:
    """What became of a fit.

    Attributes
    ----------
    history : dict of list of float
    engine : {"compiled", "keras"}
    diverged_epoch : int or None
        Number of the epoch, from 0, whose loss was NaN or infinite.
    is_finite : bool
        Whether the model has finite weights; it has not where the first epoch
        diverged.
    """

    history: dict
    engine: str
    diverged_epoch: int | None
    is_finite: bool


def train(
    model,
    feed,
    validation,
    *,
    callbacks,
    batch_size,
    row_order,
    initial_epoch,
    epochs,
    verbose,
    engine,
    unit=None,
    batch_callback=None,
):
    """Train a compiled Keras model in place.

    Parameters
    ----------
    model : keras.Model
        Compiled and built.
    feed, validation : Feed
        Training rows, and validation rows or None.
    callbacks : list of keras.callbacks.Callback
        Owned by this fit.
    batch_size : int
    row_order : callable of (epoch, n_rows)
        Order of the training rows in an epoch.
    initial_epoch, epochs : int
        Number of the first epoch, and of the one after the last.
    verbose : {0, 1, 2}
    engine : {"auto", "compiled", "keras"}
    unit : Unit, default=None
        How gradients go back through the model's layer of y's unit; None as they are.
    batch_callback : str, default=None
        Name of a callback that must be called for every batch.

    Returns
    -------
    Trained

    Raises
    ------
    EngineError
        If ``engine="compiled"`` and this cannot run compiled.
    """
    arguments = (model, feed, validation, batch_size, row_order)
    when = (initial_epoch, epochs, verbose)
    guard, trainer = KeepFinite(unit), None
    if engine != "keras":
        try:
            if batch_callback is not None:
                raise NotCompilable(
                    f"the callback {batch_callback} is called every batch"
                )
            watched = not all(isinstance(c, ReadsWeights) for c in callbacks)
            n_steps = (epochs - initial_epoch) * -(-len(feed) // batch_size)
            trainer = trainer_for(*arguments, n_steps, watched, unit)
        except NotCompilable as reason:
            if engine == "compiled":
                raise EngineError(
                    f"engine='compiled' cannot run this fit: {reason}. With "
                    "engine='auto' it is trained by keras.Model.fit."
                ) from reason
            if verbose:
                print(f"skann: training by keras.Model.fit, because {reason}.")
    if trainer is None:
        history = train_by_keras(*arguments, [*callbacks, guard], *when, unit)
    else:
        with one_blas_thread():
            history = run_epochs(trainer, [*callbacks, guard], *when)
    return _trained("keras" if trainer is None else "compiled", history, guard)


def train_small(network, feed, validation, *, callbacks, batch_size, row_order, epochs):
    """Train a network that has no Keras model in place.

    Parameters
    ----------
    network : SmallNetwork
    feed, validation : Feed
        Training rows, and validation rows or None.
    callbacks : list of ReadsWeights
    batch_size : int
    row_order : callable of (epoch, n_rows)
    epochs : int

    Returns
    -------
    Trained
    """
    guard = KeepFinite(network.description.unit)
    rows = (feed, validation, batch_size, row_order)
    trainer = DenseTrainer(network, network, *rows, watched=False)
    with one_blas_thread():
        history = run_epochs(trainer, [*callbacks, guard], 0, epochs, verbose=0)
    return _trained("compiled", history, guard)


def _trained(engine, history, guard):
    is_finite = guard.diverged_epoch is None or guard.weights is not None
    return Trained(history, engine, guard.diverged_epoch, is_finite)


def trainer_for(model, feed, validation, batch_size, row_order, n_steps, watched, unit):
    """Return what trains the model: work and model decide, never a clock.

    Raises
    ------
    NotCompilable
        With the reason.
    """
    arguments = (model, feed, validation, batch_size, row_order)
    plain = feed.rows_dtype == feed.dtype and is_plain(model, feed.row_shape)
    if plain and not compiling_pays(n_steps, model.count_params()):
        return DenseTrainer(model, KerasState(model), *arguments[1:], watched)
    return Trainer(*arguments, n_steps, watched, unit)


def run_epochs(trainer, callbacks, initial_epoch, epochs, verbose):
    """Run epochs and call the callbacks around each, as Keras does."""
    model = trainer.model
    for callback in callbacks:
        if isinstance(callback, ReadsWeights):
            callback.read_from(trainer.weights)
        if isinstance(callback, KeepFinite):
            callback.keep_optimizer(trainer)
    callbacks = keras.callbacks.CallbackList(
        callbacks,
        add_history=True,
        add_progbar=verbose != 0,
        model=model,
        verbose=verbose,
        epochs=epochs,
        steps=trainer.steps,
    )
    progress = [
        c for c in callbacks.callbacks if isinstance(c, keras.callbacks.ProgbarLogger)
    ]
    model.stop_training = False
    callbacks.on_train_begin()
    logs = None
    for epoch in range(initial_epoch, epochs):
        callbacks.on_epoch_begin(epoch)
        logs = trainer.epoch(epoch)
        for bar in progress:
            bar.on_train_batch_end(trainer.steps - 1, logs)
        if trainer.validation is not None:
            logs = {**logs, **_validate(trainer, callbacks)}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    trainer.finish()
    callbacks.on_train_end(logs)
    return model.history.history


def _validate(trainer, callbacks):
    callbacks.on_test_begin()
    logs = trainer.validate()
    callbacks.on_test_end(logs)
    return {f"val_{name}": value for name, value in logs.items()}
