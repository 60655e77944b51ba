"""Variables of a model that stand for the arguments of the function being traced.

Only for the thread that traces it: others may predict by the model meanwhile.
"""

import functools
import threading
from contextlib import contextmanager

from skann._runtime import process
from skann._runtime.private import VALUE

_this_thread = threading.local()

# How many blocks lend each variable.
_n_blocks: dict[int, int] = {}


@contextmanager
def standing_in(variables, values):
    """Let a model's variables stand for other values in this thread and block."""
    before = getattr(_this_thread, "lent", {})
    pairs = zip(map(id, variables), values, strict=True)
    with _lendable(variables):
        _this_thread.lent = before | dict(pairs)
        try:
            yield
        finally:
            _this_thread.lent = before


def own_values(variables):
    """Return the tensorflow variables that Keras' hold, whatever they stand for."""
    return [vars(variable)[VALUE] for variable in variables]


@contextmanager
def _lendable(variables):
    """Let variables be of a class that looks up what they stand for, for a block."""
    with process.LOCK:
        for variable in variables:
            if not _n_blocks.setdefault(id(variable), 0):
                variable.__class__ = _lending(type(variable))
            _n_blocks[id(variable)] += 1
    try:
        yield
    finally:
        with process.LOCK:
            for variable in variables:
                _n_blocks[id(variable)] -= 1
                if not _n_blocks[id(variable)]:
                    del _n_blocks[id(variable)]
                    variable.__class__ = type(variable).__base__


@functools.cache
def _lending(cls):
    def value(variable):
        own = vars(variable)[VALUE]
        return getattr(_this_thread, "lent", {}).get(id(variable), own)

    def keep(variable, value):
        vars(variable)[VALUE] = value

    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__")}
    return type(cls)(cls.__name__, (cls,), {**names, VALUE: property(value, keep)})
