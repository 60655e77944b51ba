"""How many threads BLAS takes while networks train and predict."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
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


def in_threads(work, items):
    """Share items among as many threads as BLAS may take, and return the results.

    For work in which NumPy does much besides its products: BLAS would share those only.

    Parameters
    ----------
    work : callable
        Returns the list of results for a list of items.
    items : list

    Returns
    -------
    list
        Results in the items' order.
    """
    n_threads = min(len(items), _n_blas_threads())
    if n_threads < 2:
        return work(items)
    edges = [len(items) * i // n_threads for i in range(n_threads + 1)]
    first, *others = [items[start:end] for start, end in itertools.pairwise(edges)]
    # This thread takes its share: the system may start two new ones on one core, and
    # leave them there for some milliseconds.
    with one_blas_thread(), ThreadPoolExecutor(n_threads - 1) as pool:
        doing = [pool.submit(work, part) for part in others]
        return list(itertools.chain(work(first), *(done.result() for done in doing)))


def _n_blas_threads():
    return max((library["num_threads"] for library in _blas().info()), default=1)


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
