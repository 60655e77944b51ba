"""Files in directories that are this user's alone, whatever others do to the path.

A directory is opened, looked at once it is open, and used by its descriptor: one that
somebody puts in its place later is not seen. No symbolic link is followed.
"""

import os
import secrets
import stat
from contextlib import contextmanager, suppress

# Where the system tells owners, and takes paths relative to an open directory.
ARE_CHECKED = hasattr(os, "geteuid") and os.open in os.supports_dir_fd


@contextmanager
def directory(path, parent=None, *, make=False):
    """Open a directory and return its descriptor.

    Parameters
    ----------
    path : path-like
    parent : int, default=None
        Descriptor of the directory in which it lies.
    make : bool, default=False
        Whether to make it, for this user alone, where there is none.

    Raises
    ------
    OSError
        If it is not there, no directory, a link, another user's, or one in which others
        may write.
    """
    if make:
        if parent is None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(path, mode=0o700, dir_fd=parent)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(path, flags, dir_fd=parent)
    try:
        _check_own(os.fstat(opened), path)
        yield opened
    finally:
        os.close(opened)


def _check_own(status, path):
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user")
    if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others may write to {path}")


def status(name, directory):
    """Return the status of a file, which is this user's and no link."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    _check_file(found, name)
    return found


def _check_file(status, name):
    if not stat.S_ISREG(status.st_mode):
        raise PermissionError(f"{name} is no regular file")
    _check_own(status, name)


def read(name, directory):
    """Return the content of a file, which is this user's and no link."""
    # Opening a pipe would wait for somebody to write to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=directory), "rb") as file:
        _check_file(os.fstat(file.fileno()), name)
        return file.read()


def write(name, content, directory):
    """Write a file that appears whole or not at all."""
    unfinished = f"{name}.{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(unfinished, flags, 0o600, dir_fd=directory)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(content)
        os.replace(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished, dir_fd=directory)
        raise


def remove(name, directory):
    """Remove a file, which is this user's and no link, if it is there still."""
    with suppress(FileNotFoundError):
        status(name, directory)
        os.unlink(name, dir_fd=directory)
