"""What is everybody's in a process: changed for moments, one thread at a time."""

import os
import threading
from contextlib import contextmanager

from skann import _fork

# Held for moments only, and never while code of the user's runs: whoever waits for it
# may hold any other lock.
LOCK = _fork.free_in_children(threading.RLock())


@contextmanager
def environment(**settings):
    """Set variables of the environment for a block, and put them back.

    Child processes that another thread starts meanwhile inherit them: the block must be
    short.
    """
    with LOCK:
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            for name, value in before.items():
                if os.environ.get(name) != settings[name]:
                    continue  # Somebody else has set it meanwhile: it is his.
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
