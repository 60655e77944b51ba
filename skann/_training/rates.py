"""Steps whose learning rate changes from one to the next, and the loss of each."""

from skann._keras.structure import as_declared
from skann._runtime import fork
from skann._runtime.threads import one_blas_thread
from skann._training.graph.program import NotCompilable
from skann._training.keras_fit import gradients_by
from skann._training.loop import trainer_for


def losses_by_rate(model, feed, rates, *, batch_size, batches, engine, unit=None):
    """Yield the training loss of one step at each learning rate.

    The model goes on training from one step to the next; the caller puts it back.

    Parameters
    ----------
    model : keras.Model
        Compiled and built, with an optimizer whose learning rate can be set.
    feed : Feed
    rates : sequence of float
    batch_size : int
    batches : callable of (step, n_rows)
        Positions in the feed of the rows of a step.
    engine : {"auto", "compiled", "keras"}
    unit : Unit, default=None
        As in ``train``.

    Yields
    ------
    float
        The loss before the step's change of the weights.

    Raises
    ------
    ValueError
        If the learning rate cannot be set, or no loss is reported.
    """
    work = (batch_size, batches, len(rates))
    step = _compiled_step(model, feed, *work, engine, unit)
    by_keras = step is None
    if by_keras:
        step = _step_by_keras(model, feed, batches)
    with one_blas_thread(), gradients_by(model, unit if by_keras else None):
        for number, rate in enumerate(rates):
            _set_rate(model.optimizer, rate)
            logs = step(number)
            if "loss" not in logs:
                raise ValueError(
                    "A learning rate range test needs a loss, and the network's "
                    f"train_step reports {sorted(logs)}."
                )
            yield logs["loss"]


def _set_rate(optimizer, rate):
    try:
        optimizer.learning_rate = rate
    except (TypeError, AttributeError) as error:
        raise ValueError(
            "A learning rate range test needs an optimizer whose learning rate can be "
            f"set, not one with a schedule: {error}"
        ) from error


def _compiled_step(model, feed, batch_size, batches, n_steps, engine, unit):
    """Return a function that trains for one step and returns its logs, or None."""
    if engine == "keras":
        return None
    work = (batch_size, batches, n_steps)
    try:
        trainer = trainer_for(model, feed, None, *work, watched=False, unit=unit)
    except NotCompilable:  # The fit itself says why.
        return None
    return trainer.epoch


def _step_by_keras(model, feed, batches):
    fork.check()

    def step(number):
        model.reset_metrics()
        x, *rest = feed.take(batches(number, len(feed)))
        logs = model.train_on_batch(as_declared(model, x), *rest, return_dict=True)
        return {name: float(value) for name, value in logs.items()}

    return step
