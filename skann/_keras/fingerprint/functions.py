"""What functions are described by, and what stands for one; see ``walk.py``.

Every function takes the walk and the thing.
"""

import sys
import types

from skann._keras.fingerprint.code import described
from skann._keras.fingerprint.libraries import (
    is_impure,
    is_library,
    is_named,
    is_of_library,
)

_MISSING = ("missing",)

# Functions of these names do not run while a step is traced.
_BEFORE_TRACING = {"__init__", "__repr__", "__str__", "build", "from_config"}
_BEFORE_TRACING |= {"get_config"}


def visit_function(walk, function):
    """Describe a function."""
    if is_of_library(function):
        _library_function(walk, function)
        return
    walk.has_own_code = True
    known = described(function.__code__)
    if function.__code__.co_name not in _BEFORE_TRACING:
        walk.words |= known.names
    walk.tokens.append(("own function", function.__name__, known.digest))
    _visit_globals(walk, function, known)
    _visit_made_with(walk, function, known.cells)
    walk.visit(function.__dict__)


def _library_function(walk, function):
    code = function.__code__
    place = (function.__module__, code.co_qualname, code.co_firstlineno)
    walk.tokens.append(("function", *place))
    if is_impure(function):
        walk.unique()
    if not is_named(function):
        walk.tokens.append(described(code).digest)
        _visit_made_with(walk, function, {})
        walk.visit(function.__dict__.get("__wrapped__"))


def _visit_made_with(walk, function, paths):
    """Describe what a function closes over, and its defaults."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        _visit_cell(walk, cell, paths.get(name, [()]))
    walk.visit(function.__defaults__)
    walk.visit(function.__kwdefaults__)


def _visit_globals(walk, function, known):
    for name, *attributes in known.reads:
        value = function.__globals__.get(name, _MISSING)
        if value is _MISSING:
            value = function.__builtins__.get(name, _MISSING)
        _visit_path(walk, value, attributes)
    for name in known.imports:
        if name in sys.modules:
            walk.visit(sys.modules[name])
        else:
            walk.unique()


def _visit_cell(walk, cell, paths):
    try:
        value = cell.cell_contents
    except ValueError:  # Not filled yet: a function that calls itself.
        value = _MISSING
    if not isinstance(value, types.ModuleType):
        paths = [()]
    for attributes in paths:
        _visit_path(walk, value, attributes)


def _visit_path(walk, value, attributes):
    """Describe what a name stands for, followed through modules."""
    for name in attributes:
        if not isinstance(value, types.ModuleType):
            break
        value = getattr(value, name, _MISSING)
    walk.visit(value)


def visit_module(walk, module):
    """Describe a module: a user's by all that it holds."""
    if is_library(module.__name__):
        walk.tokens.append(("module", module.__name__))
        walk.bare_modules.append(module)
        if is_impure(module):
            walk.unique()
        return
    held = list(vars(module).items())
    walk.visit_pairs("module", [(k, v) for k, v in held if not k.startswith("__")])


def visit_method(walk, method):
    """Describe a method of an object."""
    walk.visit_all("method", [method.__func__, method.__self__])


def visit_builtin(walk, function):
    """Describe a function in C, of a module or an object."""
    owner = function.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        owner = str(getattr(function, "__module__", None))
    walk.tokens.append(("builtin", function.__qualname__))
    walk.visit(owner)
    if is_impure(function):
        walk.unique()


def visit_named(walk, thing):
    """Describe what is known by its name: NumPy's functions, say."""
    module = getattr(thing, "__module__", None) or "numpy"
    walk.tokens.append(("named", module, thing.__name__))
    if not is_library(module) or is_impure(thing):
        walk.unique()


def visit_descriptor(walk, thing):
    """Describe a method or attribute of a class in C."""
    walk.tokens.append(("descriptor", thing.__name__))
    walk.visit(thing.__objclass__)


def visit_wrapped(walk, thing):
    """Describe a static or class method."""
    walk.tokens.append(type(thing).__name__)
    walk.visit(thing.__func__)


def visit_remembering(walk, thing):
    """Describe a function that keeps its results, which may be older than globals."""
    walk.only_itself(thing)
    walk.visit(thing.__wrapped__)


def visit_traced(walk, thing):
    """Describe a ``tf.function``, which keeps what it has traced."""
    walk.only_itself(thing)
    walk.visit(getattr(thing, "python_function", None))


def visit_property(walk, thing):
    """Describe a property."""
    walk.visit_all("property", [thing.fget, thing.fset, thing.fdel])


def visit_partial(walk, thing):
    """Describe a partial function."""
    walk.visit_all("partial", [thing.func, thing.args, thing.keywords])
    walk.visit(type(thing))
    walk.visit_attributes(thing)


def visit_reference(walk, thing):
    """Describe what a weak reference refers to."""
    walk.tokens.append("reference")
    walk.visit(thing())
