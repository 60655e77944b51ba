"""How many threads BLAS takes while networks train and predict."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from skann._runtime import fork
from skann._runtime.private import set_blas_threads

LOCK = fork.free_in_children(threading.Lock())
_n_holding = 0
_before: list[tuple[Any, int]] = []


@contextmanager
def one_blas_thread():
    """Hold BLAS at one thread while the block runs, or others like it.

    The products of a small network gain nothing from more; meanwhile those of BLAS'
    threads that wait for work turn in circles, and take the cores from the compiled
    loop and from fits in other threads. Besides, in another number of threads BLAS adds
    up in another order. The setting is the whole process's, so the first block makes it
    and the last one takes it back.
    """
    own = [(library, library.num_threads) for library in _libraries(True)]
    _set(own, 1)
    _hold()
    try:
        yield
    finally:
        _let_go()
        _set(own)


def _hold():
    global _n_holding, _before
    with LOCK:
        if not _n_holding:
            _before = [(library, library.num_threads) for library in _libraries(False)]
            _set(_before, 1)
        _n_holding += 1


def _let_go():
    global _n_holding
    with LOCK:
        _n_holding -= 1
        if not _n_holding:
            _set(_before)


def _set(libraries, n_threads=None):
    """Set numbers of threads, or put back what they were."""
    for library, n_before in libraries:
        set_blas_threads(library, n_before if n_threads is None else n_threads)


@fork.in_children
def _let_go_of_the_parents():
    # Its threads are not here, and never let go.
    global _n_holding
    if _n_holding:
        _n_holding = 0
        _set(_before)


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
    return max((library.num_threads for library in _blas().lib_controllers), default=1)


@cache
def _blas():
    return ThreadpoolController().select(user_api="blas")


def _libraries(of_a_thread):
    """Return BLAS' libraries whose setting is each thread's own, or all the others."""
    return [
        library
        for library in _blas().lib_controllers
        if (getattr(library, "threading_layer", "") == "openmp") is of_a_thread
    ]
