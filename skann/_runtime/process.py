"""What is everybody's in a process, and the locks that guard it.

``LOCK`` is for settings that are changed for moments. Whoever holds it takes no other
lock, and none of the user's code runs meanwhile.

Two more are held while code of the user's runs, which may wait for them. That makes no
circle: who is ``tracing`` never takes the ``fence``; who is inside the fence may trace.
Both are re-entrant. Where neither is needed, neither is taken: networks of skann's own
are built, and made late, without, and programs are compiled and run without.
"""

import os
import threading
from contextlib import contextmanager

from skann._runtime import fork

LOCK = fork.free_in_children(threading.RLock())

_FENCE = fork.free_in_children(threading.RLock())
_TRACING = fork.free_in_children(threading.RLock())
_this_thread = threading.local()


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


@contextmanager
def fence():
    """Keep other threads from building by functions of the user's, for a block.

    They may draw from global generators, which only one can have at a time. In a
    function that is being traced there is no fence: see above.

    Yields
    ------
    bool
        Whether there is one.
    """
    if is_tracing():
        yield False
        return
    with _FENCE:
        yield True


@contextmanager
def tracing():
    """Trace one function at a time: a model is changed while its steps are traced."""
    with _TRACING:
        before = is_tracing()
        _this_thread.is_tracing = True
        try:
            yield
        finally:
            _this_thread.is_tracing = before


def is_tracing():
    """Whether this thread is tracing."""
    return getattr(_this_thread, "is_tracing", False)
