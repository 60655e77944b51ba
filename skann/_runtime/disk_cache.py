"""Compiled programs kept on disk between processes.

tensorflow has a cache of XLA's programs: files in a directory, of which it reads and
runs whatever lies there, fails on what is damaged, and fails where it cannot write. So
it is given a directory in the memory of this process, ``ram://``. Before a program is
compiled, what the disk has of it is checked and put there; afterwards what is new is
written to the disk. Whatever is wrong with the disk, a program is compiled as ever.

``SKANN_CACHE_DIR`` in the environment places the directory; "off" turns it off.
"""

import hashlib
import os
import platform
import re
import threading
import time
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tensorflow as tf
from platformdirs import user_cache_dir

from skann._runtime import private, process
from skann._runtime import private_files as files
from skann._runtime.start import names_file

# Of all versions and processors together. An entry takes some 0.3 MB.
MOST_BYTES = 256 * 2**20

_MEMORY = "ram://skann"
_SETTING = "--tf_xla_persistent_cache_directory="
_OURS = f"{_SETTING}{_MEMORY} --tf_xla_persistent_cache_prefix=skann"

# What XLA's settings do not change in a program: what is written down of it.
_HARMLESS = "--xla_dump_"

# Names of skann's own: nothing else is ever read, written or removed.
_KIND = re.compile(r"skann-[0-9a-f]{20}")
_ENTRY = re.compile(r"(?P<program>\w+)\.(?P<key>skann__\w+)\.pb")
_UNFINISHED = re.compile(rf"{_ENTRY.pattern}\.[0-9a-f]+\.tmp")

# How long after its last change an unfinished file may still be being written.
_UNFINISHED_S = 3600

_TAG = "CACHEDIR.TAG"
_MARK = """Signature: 8a477f597d28d172789f06886806bc55
# Compiled programs of skann, for one kind of machine: {}
# This directory can be deleted at any time. See https://bford.info/cachedir/
"""

# Where the programs of this machine lie (Path), or None.
_directory: Any = None

# The programs that are being compiled; what tensorflow has of others is not needed.
_compiling: set[str] = set()
_HARVEST = threading.Lock()


def turn_on():
    """Tell tensorflow to keep compiled programs, in memory, and note where disk is.

    Nothing is cached where that is turned off, and where the user has given tensorflow
    settings in a file or a cache already: then it reads those.
    """
    global _directory
    flags = os.environ.get("TF_XLA_FLAGS", "")
    _directory = _place(flags)
    told = flags if _directory is None else f"{flags} {_OURS}"
    # Of blanks alone tensorflow would make the name of a file.
    with process.environment(TF_XLA_FLAGS=told if names_file(told) else told.strip()):
        private.have_tf_xla_flags_read()


def _place(flags):
    """Return where programs of this machine are to lie, or None where nowhere."""
    root = _root()
    if root is None or _SETTING in flags or not files.ARE_CHECKED or names_file(flags):
        return None
    try:
        return root / _kind_of_machine()
    # Of what is not installed under its own name, as tensorflow in some distributions,
    # no version can be told.
    except PackageNotFoundError:
        return None


def _root():
    """Return the directory of all caches, or None where they are turned off."""
    place = os.environ.get("SKANN_CACHE_DIR")
    if place == "off":
        return None
    try:
        place = os.path.expanduser(place or user_cache_dir("skann", appauthor=False))
        # Where nobody has such a home directory, nothing is expanded.
        return None if place.startswith("~") else Path(os.path.abspath(place))
    # There is no working directory any more, or no home directory.
    except (OSError, RuntimeError):
        return None


def _kind_of_machine():
    """Return a name for the processor's features, and what else code depends on."""
    parts = [platform.machine(), platform.system(), _processor()]
    flags = os.environ.get("XLA_FLAGS", "").split()
    parts += sorted(flag for flag in flags if not flag.startswith(_HARMLESS))
    parts += [f"{name} {version(name)}" for name in ("tensorflow", "keras", "skann")]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"skann-{digest[:20]}"


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told = {line.partition(":")[0].strip(): line for line in reversed(lines)}
    return "\n".join(told.get(k, "") for k in ("model name", "flags", "Features"))


@contextmanager
def compiling(program):
    """Have tensorflow find what the disk has of a program, and keep what is new.

    Parameters
    ----------
    program : str
        Name of the traced function: the same in every process, and of no other one.
    """
    if _directory is None:
        yield
        return
    with _HARVEST:
        _compiling.add(program)
    try:
        known = _load(program)
        yield
        _ignoring_errors(_store, program, known)
    finally:
        with _HARVEST:
            _compiling.discard(program)
            _forget_others()


def drop(program):
    """Drop a program's entries; return whether there were any.

    For when tensorflow fails to compile: it does so for an entry that it cannot read.
    """
    names = _in_memory(program)
    for name in names:
        tf.io.gfile.remove(f"{_MEMORY}/{name}")
    if names:
        _ignoring_errors(_remove_entries, program)
    return bool(names)


def _ignoring_errors(work, *arguments):
    """Do what needs not succeed: disks are full, and others use the directory, too."""
    try:
        return work(*arguments)
    except (OSError, tf.errors.OpError):
        return None


# -- in memory ------------------------------------------------------------------------


def _load(program):
    """Put a program's entries into memory and return their names there."""
    return _ignoring_errors(_load_entries, program) or set()


def _load_entries(program):
    loaded = set()
    with _opened() as directory:
        for name in os.listdir(directory):
            entry = _ENTRY.fullmatch(name)
            if entry is None or entry["program"] != program:
                continue
            content = _checked(files.read(name, directory))
            if content is None:
                files.remove(name, directory)
                continue
            key = f"{entry['key']}.pb"
            _write_memory(key, content)
            loaded.add(key)
    return loaded


def _write_memory(key, content):
    with tf.io.gfile.GFile(f"{_MEMORY}/{key}", "wb") as file:
        file.write(content)


def _read_memory(key):
    with tf.io.gfile.GFile(f"{_MEMORY}/{key}", "rb") as file:
        return file.read()


def _in_memory(program):
    """Return the names in memory of a program's entries, which name it."""
    mark = program.encode()
    return [name for name in _all_in_memory() if mark in _read_memory(name)]


def _all_in_memory():
    names = _ignoring_errors(tf.io.gfile.listdir, _MEMORY) or []
    return [name for name in names if name.endswith(".pb")]


def _forget_others():
    """Free the memory of entries that no program being compiled needs."""
    marks = [program.encode() for program in _compiling]
    for name in _all_in_memory():
        content = _ignoring_errors(_read_memory, name) or b""
        if not any(mark in content for mark in marks):
            _ignoring_errors(tf.io.gfile.remove, f"{_MEMORY}/{name}")


# -- on disk --------------------------------------------------------------------------


@contextmanager
def _opened(make=False):
    """Open the directory of this machine's programs, if it is skann's and private."""
    with (
        files.directory(_directory.parent, make=make) as root,
        files.directory(_directory.name, root, make=make) as directory,
    ):
        mark = _MARK.format(_directory.name).encode()
        if make and _is_new(os.listdir(directory)):
            files.write(_TAG, mark, directory)
        if files.read(_TAG, directory) != mark:
            raise PermissionError(f"{_directory} is no cache of skann's")
        yield directory


def _is_new(names):
    # Another process may be writing the tag.
    return _TAG not in names and all(name.startswith(_TAG) for name in names)


def _store(program, known):
    """Write a program's new entries, and keep to the bound."""
    new = [name for name in _in_memory(program) if name not in known]
    if not new:
        return
    with _opened(make=True) as directory:
        for name in new:
            content = _read_memory(name)
            entry = f"{program}.{name}"
            files.write(entry, _digest(content) + content, directory)
    _drop_oldest(_directory.parent)


def _digest(content):
    return hashlib.sha256(content).digest()


def _checked(file):
    """Return an entry's content, or None where it does not fit its checksum."""
    n = len(_digest(b""))
    return file[n:] if _digest(file[n:]) == file[:n] else None


def _remove_entries(program):
    with _opened() as directory:
        for name in os.listdir(directory):
            entry = _ENTRY.fullmatch(name)
            if entry is not None and entry["program"] == program:
                files.remove(name, directory)


def _drop_oldest(root):
    """Keep to the bound, whatever version or processor the entries are for."""
    with files.directory(root) as opened:
        found: list[tuple[float, int, str, str]] = []
        for kind in filter(_KIND.fullmatch, os.listdir(opened)):
            found += _ignoring_errors(_entries_of, kind, opened) or []
        excess = sum(size for _, size, _, _ in found) - MOST_BYTES
        for _, size, kind, name in sorted(found):
            if excess <= 0:
                return
            with files.directory(kind, opened) as directory:
                files.remove(name, directory)
            excess -= size


def _entries_of(kind, root):
    """Return (time, size, kind, name) of a directory's entries; drop the unfinished."""
    found: list[tuple[float, int, str, str]] = []
    with files.directory(kind, root) as directory:
        if files.read(_TAG, directory) != _MARK.format(kind).encode():
            return found
        for name in os.listdir(directory):
            if not (_ENTRY.fullmatch(name) or _UNFINISHED.fullmatch(name)):
                continue
            status = files.status(name, directory)
            if _ENTRY.fullmatch(name):
                found.append((status.st_mtime, status.st_size, kind, name))
            elif time.time() - status.st_mtime > _UNFINISHED_S:
                files.remove(name, directory)
    return found
