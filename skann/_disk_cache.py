"""Compiled programs kept on disk between processes, by tensorflow's own cache.

tensorflow reads and writes the entries; what it lacks is done here. It fails on a
damaged entry, so each is kept with a checksum and dropped where it does not fit. It
would keep entries for ever, so the oldest go. And it knows nothing of processors that
share a home directory, nor of versions, so each such combination has a directory of
its own.

``SKANN_CACHE_DIR`` in the environment places the directory; "off" turns it off.
"""

import hashlib
import os
import platform
import shutil
import stat
import time
import zlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Of all versions and processors together. An entry takes some 0.3 MB.
MOST_BYTES = 256 * 2**20

_ENTRY, _CHECKSUM = ".pb", ".crc32"
_SETTING = "--tf_xla_persistent_cache_directory="

# What XLA's settings do not change in a program: what is written down of it.
_HARMLESS = "--xla_dump_"

# How long after its last change a file that is no entry may still be being written.
_UNFINISHED_S = 3600

# Where tensorflow was told to keep entries, if it was.
_directory = None


def turn_on():
    """Tell tensorflow, before its first operation, where to keep compiled programs.

    Nothing is done, and nothing is cached, where that is turned off, where the user
    has given tensorflow a cache already, and where no private directory can be had.
    """
    global _directory
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if _SETTING in flags:
        mine = flags.partition(_SETTING)[2].split()[0]
        _directory = Path(mine) if Path(mine).parent == _root() else None
    else:
        _directory = _private_directory(_root())
        if _directory is not None:
            ours = f"{_SETTING}{_directory} --tf_xla_persistent_cache_prefix=skann"
            # Child processes inherit it, and share the directory.
            os.environ["TF_XLA_FLAGS"] = f"{flags} {ours}".strip()
    if _directory is not None:
        _ignoring_errors(_drop_damaged, _directory)
        _ignoring_errors(_drop_oldest, _directory.parent)


def _root():
    """Return the directory of all caches, or None where they are turned off."""
    place = os.environ.get("SKANN_CACHE_DIR")
    if place == "off":
        return None
    if not place:
        place = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "skann")
    place = Path(os.path.expanduser(place))
    # Where there is no home directory, nothing is expanded.
    return None if place.parts[0] == "~" else place.absolute()


def _private_directory(root):
    """Make the directory of this machine and these versions, private, or None."""
    if root is None or len(str(root).split()) != 1:  # tensorflow splits its flags.
        return None
    try:
        directory = root / _kind_of_machine()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        _make_private(directory)
        probe = directory / f"probe.{os.getpid()}"
        probe.write_bytes(b"1")
        probe.unlink()
    # Of what is not installed under its own name, as tensorflow in some distributions,
    # no version can be told.
    except (OSError, PackageNotFoundError):
        return None
    return directory


def _make_private(path):
    """Keep others out: what lies here is run as machine code."""
    status = path.stat()
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to another user")
    if stat.S_IMODE(status.st_mode) != 0o700:
        path.chmod(0o700)


def _kind_of_machine():
    """Return a name for the processor's features, and what else code depends on."""
    parts = [platform.machine(), platform.system(), _processor()]
    flags = os.environ.get("XLA_FLAGS", "").split()
    parts += sorted(flag for flag in flags if not flag.startswith(_HARMLESS))
    parts += [f"{name} {version(name)}" for name in ("tensorflow", "keras", "skann")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told = {line.partition(":")[0].strip(): line for line in reversed(lines)}
    return "\n".join(told.get(k, "") for k in ("model name", "flags", "Features"))


def keep_new_entries():
    """Give checksums to the entries that this process has just had written."""
    if _directory is not None:
        _ignoring_errors(_add_checksums, _directory)
        _ignoring_errors(_drop_oldest, _directory.parent)


def discard():
    """Drop every entry for this machine; return whether there may have been any.

    For when tensorflow fails to compile: it does so for an entry that it cannot read,
    and for one that it cannot write.
    """
    if _directory is None:
        return False
    shutil.rmtree(_directory, ignore_errors=True)
    _private_directory(_directory.parent)
    return True


def _ignoring_errors(work, *arguments):
    """Do what needs not succeed: other processes use the directory, too."""
    try:
        work(*arguments)
    except OSError:
        return


def _add_checksums(directory):
    # tensorflow makes a directory that was deleted anew, for everybody to read.
    _make_private(directory)
    for entry in directory.glob("*" + _ENTRY):
        checksum = entry.with_suffix(_CHECKSUM)
        if not checksum.exists():
            unfinished = checksum.with_suffix(f".{os.getpid()}")
            unfinished.write_text(_crc(entry))
            unfinished.replace(checksum)


def _drop_damaged(directory):
    """Drop entries without their checksum, and what was left half-written."""
    for path in directory.iterdir():
        if path.suffix == _ENTRY:
            checksum = path.with_suffix(_CHECKSUM)
            if not checksum.is_file() or checksum.read_bytes() != _crc(path).encode():
                _drop(path)
        elif path.suffix == _CHECKSUM:
            if not path.with_suffix(_ENTRY).exists():
                path.unlink(missing_ok=True)
        elif time.time() - path.stat().st_mtime > _UNFINISHED_S:
            path.unlink(missing_ok=True)


def _drop_oldest(root):
    """Keep to the bound, whatever version or processor the entries are for."""
    entries = [(p.stat(), p) for p in root.glob(f"*/*{_ENTRY}")]
    excess = sum(status.st_size for status, _ in entries) - MOST_BYTES
    for status, path in sorted(entries, key=lambda entry: entry[0].st_mtime):
        if excess <= 0:
            return
        _drop(path)
        excess -= status.st_size


def _drop(entry):
    entry.unlink(missing_ok=True)
    entry.with_suffix(_CHECKSUM).unlink(missing_ok=True)


def _crc(path):
    return f"{zlib.crc32(path.read_bytes()):08x}"
