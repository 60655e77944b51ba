"""Training by ``keras.Model.fit``, for what cannot run compiled."""

import weakref
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from skann._keras.input_layers import input_scale_of
from skann._keras.structure import as_declared
from skann._keras.unit_layer import constants_of, rescaling_by
from skann._runtime import fork
from skann._runtime.private import forget_first_epoch
from skann._training.graph.cache import description_of
from skann._training.graph.program import prepare
from skann._training.restoring import ReadsWeights
from skann._training.scaled_rate import steps_scaled


class _Batches(keras.utils.PyDataset):
    """A feed as Keras takes it, its rows in the order of the epoch."""

    def __init__(self, model, feed, batch_size):
        super().__init__()
        self.model = model
        self.feed = feed
        self.batch_size = batch_size
        self.order = np.arange(len(feed))

    def __len__(self):
        return -(-len(self.feed) // self.batch_size)

    def __getitem__(self, step):
        start = step * self.batch_size
        x, *rest = self.feed.take(self.order[start : start + self.batch_size])
        return as_declared(self.model, x), *rest


class _Between(keras.callbacks.Callback):
    """Puts the rows in order before each epoch, after all other callbacks.

    A PyDataset's own hook is called once before the first epoch and is told no
    epoch's number. `begin` is called with it as well.
    """

    def __init__(self, batches, row_order, begin):
        super().__init__()
        self.batches = batches
        self.row_order = row_order
        self.begin = begin

    def on_epoch_begin(self, epoch, logs=None):
        self.begin(epoch)
        self.batches.order = self.row_order(epoch, len(self.batches.feed))
        if self.model.train_function is None:
            # A callback has compiled the model anew. Keras makes its function before
            # all callbacks, and would call None.
            prepare(self.model, self.batches.feed)
            self.model.make_train_function()


class _GoingOn(keras.callbacks.CallbackList):
    """The callbacks of a fit that is under way: they hear nothing twice."""

    def __init__(self, running, between):
        self.__dict__.update(running.__dict__)
        self._between = between
        between.set_model(self.model)
        self._stops = self.model.stop_training
        self._has_heard = True

    def on_train_begin(self, logs=None):
        self.model.stop_training = self._stops

    def on_epoch_begin(self, epoch, logs=None):
        if not self._has_heard:
            super().on_epoch_begin(epoch, logs)
        self._has_heard = False
        self._between.on_epoch_begin(epoch)


# What Keras has traced for the fits of models: digests, and the range of X, which is no
# part of a description but a constant of what Keras traces.
_TRACED: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _trace_anew_if_changed(model):
    """Have Keras follow what was changed in place of a model since it traced it."""
    description = description_of(model)
    inputs = input_scale_of(model)
    numbers = [] if inputs is None else [inputs.scale, inputs.offset]
    traced = description.digest, [part.tobytes() for part in numbers]
    if description.is_unique or _TRACED.get(model) != traced:
        model.train_function = model.test_function = None
    _TRACED[model] = traced


@contextmanager
def gradients_by(model, unit):
    """Let Keras trace its train step with the gradients of a normalised y."""
    if unit is None:
        _trace_anew_if_changed(model)
        yield
        return
    model.train_function = None
    try:
        with rescaling_by(model, constants_of(model, unit)):
            yield
    finally:
        # What the user trains by Keras himself has the gradients of its loss.
        model.train_function = model.test_function = None


def train_by_keras(
    model,
    feed,
    validation,
    batch_size,
    row_order,
    callbacks,
    initial_epoch,
    epochs,
    verbose,
    unit=None,
    schedule=None,
):
    """Train by ``keras.Model.fit``, over the same rows in the same order.

    Parameters
    ----------
    callbacks : list of keras.callbacks.Callback or keras.callbacks.CallbackList
        A CallbackList is one that is under way, and has heard of the begin of the fit
        and of the epoch.
    """
    fork.check()
    batches = _Batches(model, feed, batch_size)
    is_under_way = isinstance(callbacks, keras.callbacks.CallbackList)
    for callback in callbacks.callbacks if is_under_way else callbacks:
        if isinstance(callback, ReadsWeights):
            callback.read_from(None)
    with (
        gradients_by(model, unit),
        steps_scaled(model, schedule, len(batches)) as begin,
    ):
        between = _Between(batches, row_order, begin)
        if is_under_way:
            forget_first_epoch(model)  # It has been heeded.
            callbacks = _GoingOn(callbacks, between)
        else:
            callbacks = [*callbacks, between]
        model.fit(
            batches,
            validation_data=validation and _Batches(model, validation, batch_size),
            initial_epoch=initial_epoch,
            epochs=epochs,
            callbacks=callbacks,
            verbose=verbose,
            shuffle=False,
        )
