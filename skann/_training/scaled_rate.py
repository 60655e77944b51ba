"""Keras' train step at its learning rate times a factor; the rate stays what it is.

The factor is no part of the optimizer: for as long as a step is traced, or runs, the
variable of the learning rate stands for the product. So whoever reads the rate
meanwhile or later, and whoever sets it, has the plain one, also after a failure.
"""

from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from skann._keras.lending import standing_in
from skann._runtime import private


def check_has_rate(model, name):
    """Raise ValueError where a schedule (its name) has no learning rate to multiply."""
    if _rate_of(model) is None:
        raise ValueError(
            f"learning_rate_schedule={name!r} needs an optimizer with one number as "
            f"its learning rate; {_what_it_has(model.optimizer)}. Give a number, or "
            "leave learning_rate_schedule at None."
        )


def _what_it_has(optimizer):
    name = type(optimizer).__name__
    if isinstance(optimizer, keras.optimizers.Optimizer):
        rate = private.rate_of(optimizer)
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return f"that of {name} is the schedule {type(rate).__name__}"
    return f"{name} has none"


def _rate_of(model):
    """Return the variable of a model's learning rate, or None for anything else."""
    rate = getattr(model.optimizer, "learning_rate", None)
    return rate if isinstance(rate, keras.Variable) else None


@contextmanager
def scaled_rate(model, factor=None):
    """Let a model's learning rate be so many times as large in this thread and block.

    Without a factor it is what it is.
    """
    if factor is None:
        yield
        return
    rate = _rate_of(model)
    product = rate.value * tf.cast(factor, rate.dtype)
    with standing_in([rate], [product]):
        yield


@contextmanager
def steps_scaled(model, schedule, n_steps):
    """Let each train step that Keras takes of a model have its own factor.

    Parameters
    ----------
    model : keras.Model
    schedule : Schedule or None
    n_steps : int
        Of an epoch.

    Yields
    ------
    callable
        To be called with the number of each epoch, before its first step.
    """
    if schedule is None:
        yield lambda epoch: None
        return
    # One more: a callback that takes steps between epochs takes them at the plain rate.
    factors, step = tf.Variable(np.ones(n_steps + 1)), tf.Variable(0, dtype=tf.int64)
    take_step, own = model.train_step, vars(model).get("train_step")

    def train_step(data):
        # A callback may have compiled the model anew.
        check_has_rate(model, schedule.name)
        factor = tf.gather(factors, tf.minimum(step, n_steps))
        step.assign_add(1)
        with scaled_rate(model, factor):
            return take_step(data)

    def begin(epoch):
        factors.assign([*schedule.factors(epoch, n_steps), 1.0])
        step.assign(0)

    vars(model)["train_step"], model.train_function = train_step, None
    try:
        yield begin
    finally:
        del vars(model)["train_step"]
        if own is not None:
            vars(model)["train_step"] = own
        model.train_function = None
