"""Start tensorflow: when it is needed, without its messages, and by itself.

Much needs none: parameters, what runs in NumPy, predictions of a network that a pickle
brought. So nothing that is imported with ``skann`` imports tensorflow or Keras; what
needs them stands in ``skann/_with_keras.py``, and ``with_keras`` is the one way there.

What tensorflow reads from the environment it reads once: how much it logs while it is
imported, what XLA is told when XLA first asks, threads and the memory of a GPU when it
makes its devices. Each is set for the time in which it is read and put back, so that
child processes inherit nothing, and only where the user has not set it.
"""

import gc
import importlib
import json
import operator
import os
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from skann._runtime import fork, private, process
from skann._runtime.quiet import without_chatter

_SILENT = "3"
_EXTRA_OPTIONS = "--xla_backend_extra_options="
_SMALL_LOOPS = f"{_EXTRA_OPTIONS}xla_cpu_small_while_loop_byte_threshold=80000"


_LOADING = fork.free_in_children(threading.RLock())


def with_keras():
    """Return the module of all that needs Keras, imported now if it is not yet.

    Raises
    ------
    ImportError
        Where Keras is set to run on something else than tensorflow.
    """
    if not _PARTS:
        with _LOADING, one_collection():
            load()
            _PARTS.append(importlib.import_module("skann._with_keras"))
    return _PARTS[0]


_PARTS: list[ModuleType] = []


def load():
    """Import tensorflow and Keras, with what must be set before, once in a process."""
    with _LOADING:
        if _LOADED:
            return
        check_backend()
        with one_collection():
            with quiet_import():
                import keras
                import tensorflow  # noqa: F401
            set_up_xla()
        _LOADED.append(keras)


_LOADED: list[ModuleType] = []


def is_of_keras(thing, *names):
    """Whether a thing is of one of these classes of Keras', as "losses.Loss".

    It can be only if Keras was imported, which is not done for the question.
    """
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(thing, tuple(_found(keras, names)))


def is_subclass_of_keras(thing, *names):
    """Whether a thing is a class that is, or comes from, one of these of Keras'."""
    keras = sys.modules.get("keras")
    is_class = keras is not None and isinstance(thing, type)
    return is_class and issubclass(thing, tuple(_found(keras, names)))


def _found(keras, names):
    for name in names:
        try:
            yield operator.attrgetter(name)(keras)
        except AttributeError:  # It is being imported, by another thread.
            continue


def keras_setting(name):
    """Return Keras' setting "floatx" or "image_data_format", as it is or will be."""
    config = getattr(sys.modules.get("keras"), "config", None)
    if config is not None:
        return getattr(config, name)()
    return _keras_file()[0].get(name) or _SETTINGS[name]


def computes_in_float32():
    """Whether that is the type of Keras' layers and losses where none is given."""
    config = getattr(sys.modules.get("keras"), "config", None)
    policy = "float32" if config is None else config.dtype_policy().name
    return keras_setting("floatx") == policy == "float32"


def is_limited_by_keras():
    """Whether Keras is set to end each fit, or each epoch, before it is done."""
    config = getattr(sys.modules.get("keras"), "config", None)
    limits = ("max_epochs", "max_steps_per_epoch")
    if config is None:  # When it is imported, it reads them there.
        return any(os.environ.get(f"KERAS_{name.upper()}") for name in limits)
    return any(getattr(config, name)() for name in limits)


# Those of Keras itself.
_SETTINGS = {"floatx": "float32", "image_data_format": "channels_last"}


def check_backend():
    """Raise ImportError where Keras is set to run on something else."""
    name, where = _backend()
    if name not in (None, "tensorflow"):
        raise ImportError(
            f"skann needs Keras on tensorflow, and Keras is set to {name!r} ({where}): "
            "set KERAS_BACKEND=tensorflow in the environment before Python starts."
        )


def _backend():
    """Return the name of Keras' backend as set, or None, and where it is set."""
    if "keras" in sys.modules:
        import keras

        return keras.config.backend(), "keras is imported already"
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "KERAS_BACKEND"
    settings, path = _keras_file()
    return settings.get("backend"), path


def _keras_file():
    """Return the settings (dict) that Keras will find, and the file they are in."""
    home = os.environ.get("KERAS_HOME") or Path(os.path.expanduser("~"), ".keras")
    path = Path(home, "keras.json")
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):
        settings = None
    return settings if isinstance(settings, dict) else {}, path


@contextmanager
def one_collection():
    """Collect garbage once, after the block, instead of again and again in it.

    What is imported makes some 400,000 objects that stay. Python looks through all of
    them each time they have grown by a quarter, 0.2 s at last, and once more in the
    first fit, where a user waits for it.
    """
    if not gc.isenabled() or "tensorflow" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@contextmanager
def quiet_import():
    """Hold back tensorflow's start-up messages while the block imports it.

    Does nothing where tensorflow is imported already, and where the user has set
    ``TF_CPP_MIN_LOG_LEVEL`` to show more. tensorflow keeps to the level that it had at
    its import.
    """
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL", _SILENT)
    if "tensorflow" in sys.modules or level != _SILENT:
        yield
        return
    with process.environment(TF_CPP_MIN_LOG_LEVEL=_SILENT), without_chatter():
        yield


def set_up_xla():
    """Tell XLA, before anybody uses it, what a process can tell it only once.

    Raises
    ------
    OSError
        If the environment names a file of flags that cannot be read.
    """
    from skann._runtime import disk_cache

    for name in _FLAGS:
        _check_file_of_flags(name, os.environ.get(name, ""))
    flags = os.environ.get("XLA_FLAGS", "")
    if not names_file(flags):
        flags = _with_small_loops(flags)
    with process.environment(XLA_FLAGS=flags):
        private.have_xla_flags_read()
        disk_cache.turn_on()


# tensorflow reads them together.
_FLAGS = ("XLA_FLAGS", "TF_XLA_FLAGS", "TF_JITRT_FLAGS")


def names_file(flags):
    """Whether tensorflow takes flags in the environment for the name of a file."""
    return flags.strip()[:1] not in ("", "-")


def _check_file_of_flags(name, flags):
    """Raise OSError for a file that tensorflow would end the process for.

    It takes a directory for an empty file, which nobody means.
    """
    if not names_file(flags):
        return
    try:
        with open(flags, "rb") as file:
            file.read(1)
    except OSError as error:
        raise type(error)(
            f"{name}={flags!r} in the environment names a file of flags, as it does "
            f"not begin with '-', and that cannot be read: {error.strerror}."
        ) from error


def _with_small_loops(flags):
    """Have XLA compile a loop whose steps touch few bytes to one function.

    By itself it does so for 1024 bytes a step, and else calls a function for each
    operation, which takes longer than the arithmetic of a small network's. In one
    function it multiplies matrices by plain loops: the bound is where that is no loss
    yet. It is for all of a process.
    """
    return flags if _EXTRA_OPTIONS in flags else f"{flags} {_SMALL_LOOPS}".strip()


def start():
    """Have tensorflow make its devices, with as many threads as this process may take.

    joblib and Dask tell their workers in ``OMP_NUM_THREADS``. (What `tf.config` has
    for it is part of the disk cache's keys.) And the first process would take all of a
    GPU's memory, so that others fail.

    Raises
    ------
    RuntimeError
        In a process in which tensorflow cannot run.
    """
    fork.check()
    if private.has_devices():
        return
    settings = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    if os.environ.get("OMP_NUM_THREADS"):
        settings["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"]
    wanted = {k: v for k, v in settings.items() if k not in os.environ}
    with process.environment(**wanted):
        private.make_devices()
