"""Standard error without the lines that tensorflow writes whenever it is loaded.

Its C++ side writes them while its libraries are loaded, before any setting is read. So
standard error goes through another process for that time, which leaves those lines out
and passes on everything else as it comes: also what other threads write, and the last
words of a process that is aborted.
"""

import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

_FILTER = Path(__file__).with_name("chatter.py")

# How long to wait for the last lines. A child process that was started meanwhile may
# have the way through the filter as its standard error, and keep it.
_LAST_LINES_S = 1.0


@contextmanager
def without_chatter():
    """Leave tensorflow's start-up lines out of standard error while the block runs.

    Does nothing where standard error is no file, or no other process can be had.
    """
    try:
        stderr = os.dup(2)
    except OSError:
        yield
        return
    try:
        with _filtered(stderr):
            yield
    finally:
        os.close(stderr)


@contextmanager
def _filtered(stderr):
    helper = _start_filter()
    if helper is None:
        yield
        return
    os.dup2(helper.stdin.fileno(), 2)
    helper.stdin.close()
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        with suppress(subprocess.TimeoutExpired):
            helper.wait(_LAST_LINES_S)


def _start_filter():
    # Where Python is embedded in another program, that program is the executable.
    if "python" not in os.path.basename(sys.executable or "").lower():
        return None
    try:
        return subprocess.Popen(
            [sys.executable, "-IS", _FILTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
    except OSError:
        return None
