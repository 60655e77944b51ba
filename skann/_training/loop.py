"""The way in which a fit is trained, and what became of it."""

from skann._runtime.private import forget_first_epoch
from skann._runtime.threads import one_blas_thread
from skann._training.epochs import Epochs, UnderWay
from skann._training.graph.program import (
    NotCompilable,
    check_compilable,
)
from skann._training.graph.trainer import Trainer
from skann._training.keras_fit import train_by_keras
from skann._training.numpy.recognised import KerasState, is_trained_in_numpy
from skann._training.numpy.trainer import DenseTrainer
from skann._training.restoring import (
    EarlyStopping,
    KeepFinite,
    ReadsWeights,
    Restore,
    restored_epoch,
)
from skann._training.scaled_rate import check_has_rate
from skann._training.trained import Trained
from skann._training.work import compiling_pays
from skann.exceptions import EngineError


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
    schedule=None,
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
    schedule : Schedule, default=None
        Of the learning rate; None keeps it as it is.
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
    rows, of_steps = (feed, validation, batch_size, row_order), (unit, schedule)
    keep_finite = KeepFinite(unit)
    # A fit before may have left the epoch at which it was to begin.
    forget_first_epoch(model)
    watched = not all(isinstance(c, ReadsWeights) for c in callbacks)
    given, callbacks = callbacks, _in_order(callbacks, keep_finite)

    def by_keras(callbacks, initial_epoch):
        work = (callbacks, initial_epoch, epochs, verbose)
        train_by_keras(model, *rows, *work, *of_steps)
        return _trained("keras", keep_finite, given)

    if engine == "keras":
        return by_keras(callbacks, initial_epoch)
    n_batches = -(-len(feed) // batch_size)
    n_steps = (epochs - initial_epoch) * n_batches

    def make():
        return trainer_for(model, *rows, n_steps, watched, *of_steps)

    try:
        check_compilable(model, batch_callback)
        # An error is told before callbacks hear of a fit.
        trainer = make() if engine == "compiled" or not watched else None
        run = Epochs(
            model,
            make,
            feed,
            callbacks,
            n_batches,
            epochs,
            verbose,
            None if watched else trainer,
        )
        with one_blas_thread():
            run.run(initial_epoch)
    except UnderWay as at:
        _tell(at.reason, engine, verbose)
        return by_keras(at.callbacks, at.epoch)
    except NotCompilable as reason:
        _tell(reason, engine, verbose)
        return by_keras(callbacks, initial_epoch)
    return _trained(run.engine, keep_finite, given)


def _in_order(callbacks, keep_finite):
    """Return callbacks in the order in which they are called.

    What one adds to the logs is there for those after it. Weights are put back before
    any of them hears of the end.
    """
    keepers = [c for c in callbacks if isinstance(c, EarlyStopping)]
    return [Restore(*keepers, keep_finite), *callbacks, keep_finite]


def _tell(reason, engine, verbose):
    """Say why a fit is trained by Keras, or raise where it must not be."""
    if engine == "compiled":
        raise EngineError(
            f"engine='compiled' cannot run this fit: {reason}. With "
            "engine='auto' it is trained by keras.Model.fit."
        ) from reason
    if verbose:
        print(f"skann: training by keras.Model.fit, because {reason}.")


def _trained(engine, keep_finite, callbacks):
    is_finite = keep_finite.diverged_epoch is None or keep_finite.weights is not None
    restored = restored_epoch(callbacks)
    if restored is not None:
        restored -= keep_finite.first_epoch
    return Trained(
        keep_finite.history, engine, keep_finite.diverged_epoch, is_finite, restored
    )


def trainer_for(
    model,
    feed,
    validation,
    batch_size,
    row_order,
    n_steps,
    watched,
    unit,
    schedule=None,
):
    """Return what trains the model: work and model decide, never a clock.

    Raises
    ------
    NotCompilable
        With the reason.
    """
    check_compilable(model)
    if schedule is not None:  # A callback may have compiled the model anew.
        check_has_rate(model, schedule.name)
    arguments = (model, feed, validation, batch_size, row_order)
    plain = feed.rows_dtype == feed.dtype and is_trained_in_numpy(model, feed.row_shape)
    if plain and not compiling_pays(n_steps, model.count_params()):
        state = KerasState(model)
        return DenseTrainer(model, state, *arguments[1:], watched, schedule)
    return Trainer(*arguments, n_steps, watched, unit, schedule)
