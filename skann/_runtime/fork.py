"""Processes that are copies of one in which tensorflow was in use.

A child that is made by ``fork`` has tensorflow's memory and none of its threads: what
waits for one of them waits for ever.
"""

import os

from skann._runtime import private

_is_cut_off = False


def _note():
    global _is_cut_off
    # With its devices tensorflow has made its threads.
    _is_cut_off = _is_cut_off or private.has_devices()


def in_children(function):
    """Have a function called in every child that is forked."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function


def free_in_children(lock):
    """Let a lock be free in every child: who held it is not there to let it go."""
    in_children(private.freeing(lock))
    return lock


def check():
    """Raise RuntimeError where tensorflow would hang.

    Raises
    ------
    RuntimeError
        In a child that was forked after tensorflow was in use.
    """
    if _is_cut_off:
        raise RuntimeError(
            "tensorflow was used before this process was forked, and would wait here "
            "for ever. Start processes by 'spawn' or 'forkserver' instead "
            "(multiprocessing.get_context), or by joblib's own backend 'loky'; or fork "
            "before anything is fitted."
        )


in_children(_note)
