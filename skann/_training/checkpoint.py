"""The checkpoint: the best network so far in a file, which appears whole or not."""

import io
import math
import operator

import h5py
import keras

from skann._runtime.private import compilation, write_h5
from skann._training.claim import Claim, Taken


class Checkpoint(keras.callbacks.Callback):
    """Writes the network at epoch ends.

    Parameters
    ----------
    path : Path
        Its ending names the format.
    monitor : str
    direction : {"min", "max"}
    save_best_only : bool
        Whether only an epoch better than all before is written.
    """

    def __init__(self, path, monitor, direction, save_best_only):
        super().__init__()
        self.path = path
        self.monitor = monitor
        self.save_best_only = save_best_only
        self._is_better = operator.gt if direction == "max" else operator.lt
        self._best = math.nan
        self._claim = Claim(path)

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
            self._claim.take()
        except Taken:
            raise ValueError(
                f"checkpoint_path={str(self.path)!r} is being written by another fit. "
                "Give each fit a path of its own; clones, as a search makes them, have "
                "one."
            ) from None
        except OSError as error:
            raise ValueError(
                f"checkpoint_path={str(self.path)!r} cannot be written: {error}"
            ) from error

    def on_epoch_end(self, epoch, logs=None):
        """Write the network if it is the best so far, unless the fit is diverging."""
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)) or not self._is_due(logs):
            return
        try:
            self._claim.write(as_bytes(self.model, self.path.name))
        except OSError as error:
            raise OSError(
                f"checkpoint_path={str(self.path)!r} could not be written in epoch "
                f"{epoch + 1}: {error}"
            ) from error

    def _is_due(self, logs):
        if not self.save_best_only:
            return True
        value = logs.get(self.monitor)
        if value is None:  # A callback may add it to the logs of some epochs only.
            return False
        if not math.isnan(self._best) and not self._is_better(value, self._best):
            return False
        self._best = value
        return True

    def close(self):
        """Give the claim up; the system does so for a process that dies."""
        self._claim.give_up()


class _Named(io.BytesIO):
    """A file in memory with a name, whose ending tells Keras the format."""

    def __init__(self, name):
        super().__init__()
        self._name = name

    def __str__(self):
        return self._name


def as_bytes(model, name):
    """Return what Keras would write to a file of this name.

    It is made in memory: on a full disk, HDF5 ends the process.
    """
    file = _Named(name)
    if name.endswith(".weights.h5"):
        model.save_weights(file)
    elif name.endswith(".keras"):
        model.save(file)
    else:
        _save_h5(model, file)
    return file.getbuffer()


def _save_h5(model, file):
    # Keras' writer takes the optimizer out of this dict, which is the model's own.
    compiled = compilation(model)
    before = None if compiled is None else dict(compiled.config)
    try:
        with h5py.File(file, "w") as h5:
            try:
                write_h5(model, h5)
            except ValueError:
                # It goes last. Where two variables have one name, as Adafactor's,
                # Keras cannot write them; nor does it read those of the others.
                if "optimizer_weights" not in h5:
                    raise
                del h5["optimizer_weights"]
    finally:
        if compiled is not None:
            compiled.config = before
