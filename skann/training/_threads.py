"""How many threads BLAS takes while networks train."""

import threading
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

_LOCK = threading.Lock()
_fits = 0
_holder = None


@contextmanager
def one_blas_thread():
    """Hold BLAS at one thread while the block runs, or others like it.

    The products of a small network gain nothing from more; meanwhile those of BLAS'
    threads that wait for work turn in circles, and take the cores from the compiled
    loop and from fits in other threads. The setting is the whole process's, so the
    first fit makes it and the last one takes it back.
    """
    global _fits, _holder
    with _LOCK:
        _fits += 1
        if _fits == 1:
            _holder = _Holder()
    try:
        yield
    finally:
        with _LOCK:
            _fits -= 1
            if not _fits:
                _holder.let_go()


class _Holder:
    """Holds the limit in a thread: only the one that made it can take it back."""

    def __init__(self):
        self._held, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, daemon=True)
        self._thread.start()
        self._held.wait()

    def _hold(self):
        try:
            with _blas().limit(limits=1):
                self._held.set()
                self._done.wait()
        finally:
            self._held.set()

    def let_go(self):
        self._done.set()
        self._thread.join()


@cache
def _blas():
    return ThreadpoolController().select(user_api="blas")
