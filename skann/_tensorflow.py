"""Start tensorflow: without its messages, and without taking a whole GPU.

What must be set before tensorflow starts is set here, where the user has not.
tensorflow's C++ side writes a few lines on CUDA and processor features to
standard error while it is imported. ``TF_CPP_MIN_LOG_LEVEL`` covers what is
logged later; the first lines come before that setting is read, so they are taken
off the file descriptor. Whatever else is written meanwhile is passed on.
"""

import gc
import os
import sys
import tempfile
from contextlib import contextmanager

from skann import _disk_cache

_SILENT = "3"
_THREADS, _OURS = "TF_NUM_INTRAOP_THREADS", "_SKANN_NUM_INTRAOP_THREADS"
_EXTRA_OPTIONS = "--xla_backend_extra_options="
_SMALL_LOOPS = f"{_EXTRA_OPTIONS}xla_cpu_small_while_loop_byte_threshold=80000"
_CHATTER = (
    "absl::InitializeLog",
    "cudart_stub",
    "cuda_",
    "cpu_feature_guard",
    "To enable the following instructions",
    "oneDNN",
    "computation_placer",
)


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

    Does nothing where tensorflow is imported already, where the user has set
    ``TF_CPP_MIN_LOG_LEVEL`` to show more, or where standard error is no file. What is
    set here is inherited by child processes, which are as quiet.
    """
    # Otherwise the first process takes all of a GPU's memory, and the others fail.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    _take_share()
    _make_small_loops_one_function()
    _disk_cache.turn_on()
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _SILENT)
    if "tensorflow" in sys.modules or level != _SILENT:
        yield
        return
    try:
        stderr = os.dup(2)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                text = line.decode(errors="replace")
                if not any(word in text for word in _CHATTER):
                    sys.stderr.write(text)


def _take_share():
    """Hold tensorflow to as many threads as this process is told to take.

    joblib and Dask tell their workers in ``OMP_NUM_THREADS``. What skann made of it in
    the process that started this one is inherited, and may be more than the share here.
    (`tf.config` would not be inherited, but is part of the disk cache's keys.)
    """
    share = os.environ.get("OMP_NUM_THREADS")
    if share and os.environ.get(_THREADS) in (None, os.environ.get(_OURS)):
        os.environ[_THREADS] = os.environ[_OURS] = share


def _make_small_loops_one_function():
    """Have XLA compile a loop whose steps touch few bytes to one function.

    By itself it does so for 1024 bytes a step, and else calls a function for each
    operation, which takes longer than the arithmetic of a small network's. In one
    function it multiplies matrices by plain loops: the bound is where that is no loss
    yet. It is for all of a process.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    # Anything else names a file of flags.
    if _EXTRA_OPTIONS not in flags and flags[:1] in ("", "-"):
        os.environ["XLA_FLAGS"] = f"{flags} {_SMALL_LOOPS}".strip()
