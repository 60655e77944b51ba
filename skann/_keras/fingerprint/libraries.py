"""What is known of libraries, so that their parts can be described by name alone.

Code of Keras, tensorflow, NumPy, SciPy and of Python itself stays as it was installed.
Any other code is the user's, and may be changed between two fits.
"""

import hashlib
import marshal
import sys
import sysconfig
import types
from functools import lru_cache

from skann._runtime.private import CALLS_PYTHON, OF_EXPORTS

_LIBRARIES = {"keras", "ml_dtypes", "numpy", "optree", "scipy", "sklearn"}
_LIBRARIES |= {"skann", "tensorflow", "wrapt"}
_PYTHONS_OWN = sysconfig.get_path("stdlib")

# What gives another result in each call, or reads what cannot be described: the time,
# random numbers, files, the environment.
_IMPURE = {
    *("_datetime", "_io", "_random", "_socket", "_thread", "datetime", "gc"),
    *("genericpath", "getpass", "glob", "importlib", "io", "linecache", "nt", "os"),
    *("pathlib", "platform", "posix", "random", "runpy", "secrets", "shelve"),
    *("shutil", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading"),
    *("time", "urllib", "uuid"),
}
_IMPURE_BUILTINS = {"__import__", "breakpoint", "eval", "exec", "globals", "id"}
_IMPURE_BUILTINS |= {"input", "open"}
# The last is Python code that tensorflow calls while a program runs.
_IMPURE_PARTS = ("numpy.random", CALLS_PYTHON)


@lru_cache(maxsize=4096)
def is_library(name):
    """Whether a module of this name is one of a library's."""
    if not isinstance(name, str):
        return False
    top = name.partition(".")[0]
    if top not in sys.stdlib_module_names:
        return top in _LIBRARIES
    # A user's file may have the name of one of Python's own modules.
    path = getattr(sys.modules.get(name), "__file__", None) or _PYTHONS_OWN
    return path.startswith(_PYTHONS_OWN) and "site-packages" not in path


def is_of_library(function):
    """Whether a function was defined in a library, whatever it says of itself."""
    known = function.__globals__
    name = known.get("__name__")
    if not is_library(name):
        return False
    # One that was made in a library and came in a pickle has globals of its own.
    came = function.__code__.co_filename == "<dynamic-code>"
    return came or vars(sys.modules.get(name, _NOWHERE)) is known


_NOWHERE = types.ModuleType("nowhere")


@lru_cache(maxsize=4096)
def is_named(function):
    """Whether a library's function is the one of its name, not made by another.

    One that wraps a user's function has that one's name, in the user's module.
    """
    if not is_library(function.__module__):
        return False
    thing = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        thing = getattr(thing, name, None)
    return thing is function


@lru_cache(maxsize=4096)
def is_impure(thing):
    """Whether a library's module, function or class gives what cannot be described."""
    if isinstance(thing, types.ModuleType):
        return _is_impure_module(thing.__name__)
    for _ in range(9):
        name = getattr(thing, "__name__", "")
        module = getattr(thing, "__module__", None) or ""
        if module == "builtins" and name in _IMPURE_BUILTINS:
            return True
        if _is_impure_module(module) or _draws(module, name):
            return True
        thing = getattr(thing, "__wrapped__", None)
        if thing is None:
            break
    return False


def _is_impure_module(name):
    top = name.partition(".")[0]
    return top in _IMPURE or name.startswith(_IMPURE_PARTS) or _draws(name, "")


def _draws(module, name):
    """Whether something of tensorflow draws from its global generators."""
    if not module.startswith("tensorflow.") or "stateless" in module + name:
        return False
    return any(
        word in part for word in ("random", "dropout") for part in (module, name)
    )


class _Classes:
    """What describes the classes of libraries, and what a user has changed of them.

    A class is looked at again where one of its attributes has become another.
    """

    def __init__(self):
        self._known = {}

    def look_at(self, cls):
        """Return a digest, and the attributes of a class that are a user's own."""
        values = tuple(vars(cls).values())
        known = self._known.get(cls)
        if known is None or not _are_same(known[0], values):
            known = self._known[cls] = (values, *_looked_at(cls))
        return known[1:]


def _are_same(some, others):
    return len(some) == len(others) and all(map(_is, some, others))


def _is(a, b):
    return a is b


# The address of a class is one of them.
_NO_SETTING = ("__doc__", OF_EXPORTS)


def _looked_at(cls):
    token, own = [cls.__module__, cls.__qualname__], []
    for name, value in sorted(vars(cls).items(), key=lambda item: item[0]):
        if type(value) in (bool, int, float, str) and not name.startswith(_NO_SETTING):
            token.append((name, value))
        function = _function_in(value)
        if function is None:
            continue
        if is_of_library(function):
            code = function.__code__
            token.append((name, code.co_qualname, code.co_firstlineno))
        else:
            own.append((name, value))
    return hashlib.sha256(marshal.dumps(token, 2)).digest(), own


def _function_in(value):
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    return value if isinstance(value, types.FunctionType) else None


CLASSES = _Classes()

# Methods in whose place Keras itself puts something.
_REPLACED_BY_KERAS = {"build", "loss", "quantize"}


def is_as_made(thing):
    """Whether nobody has put a method of his own into an object, or into its class."""
    cls = type(thing)
    if not is_library(cls.__module__):
        return False
    if any(CLASSES.look_at(base)[1] for base in cls.__mro__ if base is not object):
        return False
    return not any(
        isinstance(getattr(cls, name, None), types.FunctionType)
        for name, value in vars(thing).items()
        if name not in _REPLACED_BY_KERAS and not is_the_engines(value)
    )


def is_the_engines(value):
    """Whether a method was put into an object for as long as it is traced."""
    function = getattr(value, "func", value)
    known = isinstance(function, types.FunctionType) and function.__globals__
    return bool(known) and known.get("__name__", "").startswith("skann._")
