"""Paths that a user gives for what a fit writes."""

import os
import re
import time
import uuid
from pathlib import Path

CHECKPOINT_SUFFIXES = (".weights.h5", ".h5", ".keras")


def path_of(given, parameter):
    """Return a path with ``~`` in its meaning.

    Raises
    ------
    ValueError
        Naming the parameter, for what is no path on this machine.
    """
    text = os.fspath(given)
    if not isinstance(text, str):
        raise ValueError(f"{parameter}={given!r} must be a path of text, not bytes.")
    if "\0" in text:
        raise ValueError(f"{parameter}={text!r} has a NUL in it, which no path has.")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        raise ValueError(
            f"{parameter}={text!r} must be a path on this machine, and is a URL."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{parameter}={text!r} cannot be written: {error}") from error


def checkpoint_path_of(given):
    """Return the path of a checkpoint, whose ending names its format.

    Raises
    ------
    ValueError
    """
    path = path_of(given, "checkpoint_path")
    if not path.name.endswith(CHECKPOINT_SUFFIXES):
        raise ValueError(
            f"checkpoint_path={str(path)!r} must end in one of "
            f"{', '.join(CHECKPOINT_SUFFIXES)}."
        )
    return path


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
