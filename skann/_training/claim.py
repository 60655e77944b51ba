"""The claim on a file that a fit writes: one holder at a time, and whole files only."""

import errno
import os
import uuid
from contextlib import suppress

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, no claim is made.
    fcntl = None  # type: ignore[assignment]  # A module, for the type checker.

# A file system that has no locks, as some network ones, answers with one of these.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}


class Taken(Exception):
    """Another fit, of this process or another, holds the claim."""


class Claim:
    """The right to write a file, and a way to do so that leaves no half of one.

    The claim is a lock in a directory beside the file, which the system gives up for a
    process that dies. The directory belongs to the holder, with all that is in it:
    what a holder that was killed has left there is removed.

    Parameters
    ----------
    path : str or path-like
        The file. Links are followed, so that two ways to one file are one claim.
    """

    def __init__(self, path):
        self.path = os.path.realpath(path)
        parent, name = os.path.split(self.path)
        self.directory = os.path.join(parent, f".{name}.writing")
        self._written = None

    def take(self):
        """Take the claim.

        Raises
        ------
        Taken
        OSError
            If nothing can be written there.
        """
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        lock = self._locked()
        while lock is None:
            lock = self._locked()
        self._lock, self._has_lock = lock
        self._clear()

    def _locked(self):
        """Return the open lock file and whether it is locked, or None to try again."""
        with suppress(FileExistsError):
            os.mkdir(self.directory)
        if os.path.islink(self.directory):  # What it leads to is not ours to clear.
            raise NotADirectoryError(f"{self.directory!r} is a link")
        path = os.path.join(self.directory, "lock")
        try:
            file = open(path, "w")  # noqa: SIM115 - It is open while it is held.
        except FileNotFoundError:
            return None  # The holder before has just removed the directory.
        try:
            has_lock = _lock(file)
            if not has_lock or os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file, has_lock
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        # It was removed before it was locked: a lock that nobody else will see.
        file.close()
        return None

    def write(self, data):
        """Put a file of these bytes in the place of the one that is there.

        It is on the disk before it has the name, so whatever happens there is a whole
        file of that name, the one before or this one.
        """
        self._written = os.path.join(self.directory, uuid.uuid4().hex)
        with open(self._written, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._written, self.path)
        _sync_directory(os.path.dirname(self.path))

    def give_up(self):
        """Give the claim up, and leave nothing but the file."""
        self._clear()
        # The lock goes last: who has it open sees that it is not in its place.
        with suppress(OSError):
            os.remove(os.path.join(self.directory, "lock"))
        with suppress(OSError):
            os.rmdir(self.directory)
        self._lock.close()

    def _clear(self):
        if self._has_lock:
            entries = [e for e in os.scandir(self.directory) if e.name != "lock"]
            paths = [entry.path for entry in entries]
        else:  # Another may be writing too, and nobody can know.
            paths = [self._written] if self._written else []
        for path in paths:
            with suppress(OSError):
                os.remove(path)


def _lock(file):
    """Lock a file, and return whether its file system has locks at all."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        raise Taken from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


def _sync_directory(path):
    """Have a new name in a directory survive a power cut, where that can be asked."""
    if os.name == "nt":
        return
    with suppress(OSError):
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
