"""Estimator keyword arguments -> Keras callbacks, one set for each fit."""

import copy
import logging
import math
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import keras

from skann.training import EarlyStopping

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, no claim is made.
    fcntl = None

CHECKPOINT_SUFFIXES = (".weights.h5", ".h5", ".keras")

_BATCH_HOOKS = [
    f"on_{phase}batch_{moment}"
    for phase in ("", "train_", "test_")
    for moment in ("begin", "end")
]


def fresh_copies(callbacks, name="callbacks"):
    """Return a copy of each of the user's Keras callbacks.

    A callback gathers state while it runs, and holds the model. Each fit takes a
    copy, so that none carries anything from one fit, fold or thread to another.

    Raises
    ------
    TypeError
        For anything that is no ``keras.callbacks.Callback``.
    """
    if callbacks is None:
        return []
    if not isinstance(callbacks, (list, tuple)):
        callbacks = [callbacks]
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                f"{name} must be instances of keras.callbacks.Callback; got "
                f"{callback!r}."
            )
    return [_fresh_copy(callback) for callback in callbacks]


def _fresh_copy(callback):
    # A model from an earlier use is left behind rather than copied.
    memo = {id(callback.model): None}
    try:
        return copy.deepcopy(callback, memo)
    except (TypeError, NotImplementedError):
        # It holds something that has no copy, an open file or a lock.
        return copy.copy(callback)


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
        return callback.update_freq == "epoch" and not callback._should_trace
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


class Checkpoint(keras.callbacks.ModelCheckpoint):
    """Keras' checkpoint, whose files appear whole or not at all.

    Keras writes to a directory beside the file; what it wrote is then moved to its
    place in one step. A lock in the directory is the claim on the path: while it is
    held, no other fit may write to that path.
    """

    def __init__(self, path, monitor, mode, save_best_only):
        self.path = Path(path)
        self._claim = self.path.parent / f".{self.path.name}.writing"
        # Keras would put epochs and losses in the place of braces.
        written = str(self._claim / self.path.name)
        super().__init__(
            written.replace("{", "{{").replace("}", "}}"),
            monitor=monitor,
            mode=mode,
            save_best_only=save_best_only,
            save_weights_only=self.path.name.endswith(".weights.h5"),
        )

    def open(self):
        """Claim the path, making its directory.

        Raises
        ------
        ValueError
            If the path cannot be written, or another fit is writing to it.
        """
        try:
            if self.path.is_dir():
                raise IsADirectoryError("it is a directory")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._claim.mkdir(exist_ok=True)
            self._lock = (self._claim / "lock").open("w")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"checkpoint_path={str(self.path)!r} cannot be written: {error}"
            ) from error
        try:
            if fcntl is not None:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ValueError(
                f"checkpoint_path={str(self.path)!r} is being written by another fit. "
                "Give each fit a path of its own; clones, as a search makes them, have "
                "one."
            ) from None
        # What a fit that was killed has left here is no checkpoint.
        self._claim.mkdir(exist_ok=True)
        (self._claim / self.path.name).unlink(missing_ok=True)

    def on_epoch_end(self, epoch, logs=None):
        """Let Keras write, unless the fit is diverging, and publish what it wrote."""
        if not math.isfinite((logs or {}).get("loss", 0.0)):
            return
        try:
            with _no_advice():
                super().on_epoch_end(epoch, logs)
        except OSError as error:
            raise OSError(
                f"checkpoint_path={str(self.path)!r} could not be written in epoch "
                f"{epoch}: {error}"
            ) from error
        written = self._claim / self.path.name
        if written.exists():
            os.replace(written, self.path)

    def close(self):
        """Give the claim up; the system does so for a process that dies."""
        shutil.rmtree(self._claim, ignore_errors=True)
        self._lock.close()


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


@contextmanager
def _no_advice():
    """Keep Keras from advising against ``.h5``, which the user asked for."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def check_checkpoint_path(path):
    """Raise ValueError for a checkpoint path whose ending names no format."""
    if not Path(path).name.endswith(CHECKPOINT_SUFFIXES):
        raise ValueError(
            f"checkpoint_path={str(path)!r} must end in one of "
            f"{', '.join(CHECKPOINT_SUFFIXES)}."
        )


def run_directory(root, parameter):
    """Make a new directory under `root` whose name no other fit has, and return it.

    The name sorts by time, as TensorBoard shows it.
    """
    name = f"run-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
    path = Path(root) / name
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise ValueError(
            f"{parameter}={str(root)!r} cannot be written: {error}"
        ) from error
    return path


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
    run = str(run_directory(root, "tensorboard_dir"))
    return keras.callbacks.TensorBoard(log_dir=run, write_graph=False), run
