"""Estimator keyword arguments -> Keras callbacks, one set for each fit."""

import functools
import re
from contextlib import contextmanager
from importlib.util import find_spec

import keras
import tensorflow as tf

from skann._runtime.private import profiles
from skann._training.checkpoint import Checkpoint
from skann._training.paths import path_of, run_directory
from skann._training.restoring import EarlyStopping

_BATCH_HOOKS = [
    f"on_{phase}batch_{moment}"
    for phase in ("", "train_", "test_")
    for moment in ("begin", "end")
]


def needs_batches(callbacks):
    """Return the class name of a callback that must see every batch, or None."""
    for callback in callbacks:
        if _has_batch_hook(callback) and not _only_watches_epochs(callback):
            return type(callback).__name__
    return None


def _has_batch_hook(callback):
    return any(
        name in vars(callback)
        or getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name)
        for name in _BATCH_HOOKS
    )


def _only_watches_epochs(callback):
    """Whether a Keras callback with batch hooks is set so that they do nothing."""
    if isinstance(callback, keras.callbacks.TensorBoard):
        return callback.update_freq == "epoch" and not profiles(callback)
    if isinstance(
        callback, (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)
    ):
        return callback.save_freq == "epoch"
    return isinstance(callback, keras.callbacks.ProgbarLogger)


def early_stopping(monitor, mode, patience, min_delta, restore_best_weights):
    """Return Keras' early stopping."""
    return EarlyStopping(
        monitor=monitor,
        mode=mode,
        patience=patience,
        min_delta=min_delta,
        restore_best_weights=restore_best_weights,
    )


@contextmanager
def opened(callbacks):
    """Hold the checkpoint's claim on its path while a fit runs."""
    files = [c for c in callbacks if isinstance(c, Checkpoint)]
    for file in files:
        file.open()
    try:
        yield
    finally:
        for file in files:
            file.close()


def _telling(hook):
    """Return a hook of TensorBoard's that names the parameter where it cannot write."""

    @functools.wraps(hook)
    def telling(self, *args, **kwargs):
        try:
            return hook(self, *args, **kwargs)
        except (OSError, tf.errors.OpError) as error:
            what = str(getattr(error, "message", error)).splitlines()[0]
            what = re.sub(r"^\{\{.*?\}\} ", "", what)
            raise OSError(
                f"tensorboard_dir={self.root!r} could not be written: {what}"
            ) from error

    return telling


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras' TensorBoard, for a new directory under a root."""

    def __init__(self, root):
        self.root = str(root)
        super().__init__(
            log_dir=str(run_directory(root, "tensorboard_dir")), write_graph=False
        )

    set_model = _telling(keras.callbacks.TensorBoard.set_model)
    on_train_begin = _telling(keras.callbacks.TensorBoard.on_train_begin)
    on_test_end = _telling(keras.callbacks.TensorBoard.on_test_end)
    on_epoch_end = _telling(keras.callbacks.TensorBoard.on_epoch_end)
    on_train_end = _telling(keras.callbacks.TensorBoard.on_train_end)


def tensorboard(root):
    """Return Keras' TensorBoard callback, and a new directory under `root` for it.

    Raises
    ------
    ImportError
        If TensorBoard is not installed.
    """
    if find_spec("tensorboard") is None:
        raise ImportError(
            "tensorboard_dir needs TensorBoard, which tensorflow no longer brings with "
            "it: pip install 'skann[tensorboard]'."
        )
    callback = _TensorBoard(path_of(root, "tensorboard_dir"))
    return callback, callback.log_dir
