"""The last, short batch of an epoch as a full one, in which some rows do not count.

XLA wants fixed shapes. Where each row's loss and metrics are its own, a short batch can
be filled up with rows of weight 0: the mean over its n rows is the sum over the whole
batch, of which n rows weigh size / n, divided by the size. Keras' step stays what it
is, but for what it tells its metrics.
"""

import types
from contextlib import contextmanager

import keras
import tensorflow as tf

from skann._keras.fingerprint.libraries import is_as_made, is_of_library
from skann._keras.layers import is_plain_stack
from skann._keras.variables import input_dtype, rows_dtype
from skann._runtime import private

# Losses that are a mean over rows of what depends on that row alone.
_OF_ROWS = {
    keras.losses.binary_crossentropy,
    keras.losses.categorical_crossentropy,
    keras.losses.hinge,
    keras.losses.huber,
    keras.losses.log_cosh,
    keras.losses.mean_absolute_error,
    keras.losses.mean_absolute_percentage_error,
    keras.losses.mean_squared_error,
    keras.losses.mean_squared_logarithmic_error,
    keras.losses.poisson,
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.squared_hinge,
}


def can_be_filled_up(model):
    """Whether rows of weight 0 change nothing in a step of this model."""
    losses = private.computed_losses(model)
    return (
        is_plain_stack(model)
        and rows_dtype(model) == input_dtype(model)
        and not any(map(_mixes_rows, model.layers))
        # In less precision, the weights of the rows would be rounded.
        and all(_is_as_precise(loss, input_dtype(model)) for loss in losses)
        and all(map(_is_mean_over_rows, losses))
        and all(map(_takes_weights, _metrics(model)))
    )


def _is_as_precise(loss, dtype):
    return loss.dtype in (dtype, "float64")


def _mixes_rows(layer):
    penalised = getattr(layer, "activity_regularizer", None) is not None
    return penalised or isinstance(layer, keras.layers.BatchNormalization)


def _is_mean_over_rows(loss):
    settings = private.settings_of(loss)
    return (
        is_as_made(loss)
        and getattr(loss, "fn", None) in _OF_ROWS
        and loss.reduction == "sum_over_batch_size"
        and settings.get("ignore_class") is None
        and settings.get("axis", -1) == -1
    )


def _takes_weights(metric):
    """Whether a metric is a mean, over rows, of a function of Keras' own."""
    function = private.function_of(metric)
    return (
        isinstance(metric, keras.metrics.MeanMetricWrapper)
        and is_as_made(metric)
        and isinstance(function, types.FunctionType)
        and is_of_library(function)
    )


def _metrics(model):
    parts = private.compiled_metrics(model)
    return [] if parts is None else parts.metrics


def filled_up(data, n_rows):
    """Return x, y and weights for a batch of which the first `n_rows` count.

    Also a mask of these rows, and the weights as they would be without the others.
    """
    x, y, *weight = data
    size = x.shape[0]
    mask = tf.cast(tf.range(size) < n_rows, x.dtype)
    weight = mask * weight[0] if weight else mask
    return (x, y, weight * (size / tf.cast(n_rows, x.dtype))), mask, weight


@contextmanager
def counting_some(model, n_rows, mask, weight):
    """Let a model's metrics see the rows that count, while a step is traced."""
    tracker, metrics = private.mean_loss(model), private.compiled_metrics(model)

    def track(loss, sample_weight=None):
        type(tracker).update_state(tracker, loss, sample_weight=n_rows)

    def update(y, outputs, sample_weight=None):
        kinds = private.both_kinds_of(metrics)
        for kind, weights in zip(kinds, (mask, weight), strict=True):
            for part in filter(None, kind):
                part.update_state(y, outputs, sample_weight=weights)

    tracker.update_state = track
    if metrics is not None:
        metrics.update_state = update
    try:
        yield
    finally:
        del tracker.update_state
        if metrics is not None:
            del metrics.update_state
