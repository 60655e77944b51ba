"""What each kind of thing is described by; see ``walk.py``.

Every function takes the walk and the thing.
"""

import collections
import copyreg
import functools
import hashlib
import types
import weakref
from functools import lru_cache

import keras
import numpy as np
import tensorflow as tf

from skann._keras.fingerprint.functions import (
    visit_builtin,
    visit_descriptor,
    visit_function,
    visit_method,
    visit_module,
    visit_named,
    visit_partial,
    visit_property,
    visit_reference,
    visit_remembering,
    visit_traced,
    visit_wrapped,
)
from skann._keras.fingerprint.libraries import CLASSES, is_impure, is_library
from skann._runtime import private

# What stands for itself in a description.
ATOMS = frozenset({bool, bytes, complex, float, int, str, type(None), type(...)})

# Attributes of classes that say nothing of what they do.
_OF_EVERY_CLASS = {
    *("__dict__", "__doc__", "__firstlineno__", "__module__", "__qualname__"),
    *("__static_attributes__", "__weakref__", "_abc_impl"),
    # Looking for them makes them.
    *("__annotations__", "__annotations_cache__"),
}


def _tuple(walk, thing):
    walk.visit_all("tuple", thing)


def _list(walk, thing):
    walk.visit_all("list", thing)


def _dict(walk, thing):
    walk.visit_pairs("dict", thing.items())


def _set(walk, thing):
    walk.visit_set(thing)


def _not_implemented(walk, thing):
    walk.tokens.append(("NotImplemented",))


# Arrays, tensors and variables.


def _array(walk, array):
    walk.tokens.append(("array", _dtype_name(array.dtype), array.shape))
    if array.dtype.hasobject:
        walk.visit_all("objects", array.ravel().tolist())
    else:
        data = np.ascontiguousarray(array).tobytes()
        walk.tokens.append(hashlib.sha256(data).digest())
    if type(array) is not np.ndarray:
        walk.visit(type(array))
        walk.visit_attributes(array)


def _dtype_name(dtype):
    return str(dtype.descr if dtype.names else dtype.str)


def _scalar(walk, scalar):
    walk.tokens.append("scalar")
    _array(walk, np.asarray(scalar))


def _dtype(walk, dtype):
    walk.tokens.append(("dtype", _dtype_name(dtype)))


def _tf_dtype(walk, dtype):
    walk.tokens.append(("dtype", dtype.name))


def _tensor(walk, tensor):
    try:
        value = np.asarray(tensor.numpy())
    except (AttributeError, TypeError, NotImplementedError):
        walk.only_itself(tensor)
        return
    walk.tokens.append("tensor")
    _array(walk, value)


def _symbolic(walk, tensor):
    shape = tuple(tensor.shape) if walk.with_shapes else None
    walk.tokens.append(("symbolic", shape, str(tensor.dtype), bool(tensor.sparse)))


def _variable(walk, variable):
    number = walk.arguments.get(id(variable))
    if number is None:
        walk.unique()
        return
    shape = private.shape_of(variable) if walk.with_shapes else None
    walk.tokens.append(("argument", number, shape))
    walk.visit_attributes(variable)


def _tf_variable(walk, variable):
    number = walk.arguments.get(id(variable))
    if number is None:
        walk.unique()
    else:
        walk.tokens.append(("value of argument", number))


# Classes and their instances.


def _class(walk, cls):
    if is_library(cls.__module__):
        walk.tokens.append(("class", cls.__module__, cls.__qualname__))
        if is_impure(cls):
            walk.unique()
        for base in cls.__mro__ if cls.__module__ not in _PLAIN else ():
            if base is cls or (base is not object and walk.is_new(base)):
                digest, own = CLASSES.look_at(base)
                walk.tokens.append(digest)
                walk.visit_pairs("own", own)
        return
    walk.has_own_code = True
    walk.tokens.append(("own class", cls.__name__))
    walk.visit(type(cls))
    walk.visit_all("bases", cls.__bases__)
    # By name: a class that comes in a pickle has them in another order.
    names = sorted(vars(cls).keys() - _OF_EVERY_CLASS)
    walk.visit_pairs("attributes", [(name, vars(cls)[name]) for name in names])


# Modules whose classes nobody can change, or none would.
_PLAIN = {"abc", "builtins", "typing"}


def _instance(walk, thing, but=()):
    cls = type(thing)
    walk.visit(cls)
    contents = _contents(cls)
    if contents is not None:
        contents(walk, thing)
    if _keeps_traces(cls):
        walk.only_itself(thing)
    walk.visit_attributes(thing, but)


@lru_cache(maxsize=1024)
def slots(cls):
    """Return the names of what a class's instances hold beside their dictionary."""
    return tuple(
        name
        for base in cls.__mro__
        if _is_of_python(base)
        for name, value in vars(base).items()
        if isinstance(value, types.MemberDescriptorType)
    )


def _is_of_python(cls):
    """Whether a class was made by Python code, which shows all that it holds."""
    is_heap_type, is_immutable = cls.__flags__ & 1 << 9, cls.__flags__ & 1 << 8
    return bool(is_heap_type and not is_immutable)


@lru_cache(maxsize=1024)
def _keeps_traces(cls):
    """Whether a class has methods of which tensorflow keeps a trace an instance."""
    return any(
        isinstance(value, tf.types.experimental.Callable)
        for base in cls.__mro__
        if not is_library(base.__module__)
        for value in list(vars(base).values())
    )


@lru_cache(maxsize=1024)
def _contents(cls):
    """Return what describes what instances hold beside their attributes."""
    for base in cls.__mro__:
        if base in _CONTENTS:
            return _CONTENTS[base]
        if not _is_of_python(base):
            return None if base is object and _has_room(cls) else _reduced
    return None


def _has_room(cls):
    return bool(slots(cls)) or any("__dict__" in vars(base) for base in cls.__mro__)


def _reduced(walk, thing):
    """Describe what holds something unseen by what a pickle would hold of it."""
    known = is_library(type(thing).__module__)
    reduce = copyreg.dispatch_table.get(type(thing)) if known else None
    try:
        parts = thing.__reduce_ex__(4) if reduce is None else reduce(thing)
    except Exception:  # Whatever a class raises here.
        known = type(thing).__module__.startswith(("keras.", "tensorflow."))
        if known:
            walk.only_itself(thing)
        else:
            walk.unique()
        return
    if isinstance(parts, str):
        walk.visit(parts)
        return
    function, arguments, *rest = parts
    state, *items = [*rest, None, None, None][:3]
    items = [None if part is None else list(part) for part in items]
    walk.visit_all("reduced", [function, arguments, state, *items])


def _default_dict(walk, thing):
    walk.visit(thing.default_factory)
    _dict(walk, thing)


def _deque(walk, thing):
    walk.visit(thing.maxlen)
    _list(walk, thing)


# The containers and values that a class may inherit from.
_CONTENTS = {
    collections.defaultdict: _default_dict,
    collections.deque: _deque,
    dict: lambda walk, thing: walk.visit_pairs("dict", dict.items(thing)),
    list: lambda walk, thing: walk.visit_all("list", list.__iter__(thing)),
    tuple: lambda walk, thing: walk.visit_all("tuple", tuple.__iter__(thing)),
    set: lambda walk, thing: walk.visit_set(set.__iter__(thing)),
    frozenset: lambda walk, thing: walk.visit_set(frozenset.__iter__(thing)),
    str: lambda walk, thing: walk.visit(str.__add__(thing, "")),
    bytes: lambda walk, thing: walk.visit(bytes.__add__(thing, b"")),
    int: lambda walk, thing: walk.visit(int.__pos__(thing)),
    float: lambda walk, thing: walk.visit(float.__pos__(thing)),
    complex: lambda walk, thing: walk.visit(complex.__pos__(thing)),
}


# Keras' and tensorflow's own.


def _optimizer(walk, optimizer):
    _instance(walk, optimizer)
    if type(optimizer).__name__ in _OPTIMIZERS_BY_NAMES:
        walk.words.add("path")
    if getattr(optimizer, "weight_decay", None):
        walk.tokens.append(tuple(private.decaying(optimizer)))


# They ask what a variable is called.
_OPTIMIZERS_BY_NAMES = {"Muon", "MultiOptimizer"}


def _part_of_loss(walk, part):
    # Its name is that of a value where there are several losses: of a metric's.
    walk.visit_all("loss", [part.path, part.loss, part.loss_weights])


def _layer(walk, layer):
    """Describe a layer, without the initializers that its variables were made by."""
    if walk.with_names or is_library(type(layer).__module__):
        _instance(walk, layer)
        return
    but = {name for name, value in vars(layer).items() if _is_initializer(value)}
    walk.initializers |= but
    _instance(walk, layer, but)


def _is_initializer(thing):
    known = isinstance(thing, keras.initializers.Initializer)
    return known and is_library(type(thing).__module__)


def _value(walk, thing):
    """Describe what is only what it holds, be it one object or many alike."""
    _instance(walk, thing)


def _cached_property(walk, thing):
    walk.visit_all("cached property", [thing.func, thing.attrname])


def _proxy(walk, thing):
    """Describe what tensorflow has wrapped to keep track of it."""
    walk.visit(thing.__wrapped__)


_EXACT = {
    tuple: _tuple,
    list: _list,
    dict: _dict,
    set: _set,
    frozenset: _set,
    types.MappingProxyType: _dict,
    type(NotImplemented): _not_implemented,
    private.class_of_part_of_loss(): _part_of_loss,
    types.FunctionType: visit_function,
    types.MethodType: visit_method,
    types.BuiltinFunctionType: visit_builtin,
    types.MethodWrapperType: visit_builtin,
    types.WrapperDescriptorType: visit_descriptor,
    types.MethodDescriptorType: visit_descriptor,
    types.ClassMethodDescriptorType: visit_descriptor,
    types.GetSetDescriptorType: visit_descriptor,
    types.MemberDescriptorType: visit_descriptor,
    np.ufunc: visit_named,
    type(np.mean): visit_named,
    functools.cached_property: _cached_property,
    type(functools.lru_cache(len)): visit_remembering,
    tf.DType: _tf_dtype,
    weakref.ReferenceType: visit_reference,
}
_BY_BASE = (
    (type, _class),
    (types.ModuleType, visit_module),
    (np.ndarray, _array),
    (np.generic, _scalar),
    (np.dtype, _dtype),
    (keras.Variable, _variable),
    (keras.KerasTensor, _symbolic),
    (keras.optimizers.Optimizer, _optimizer),
    (keras.Operation, _layer),
    (tf.Variable, _tf_variable),
    (tf.Tensor, _tensor),
    (tf.types.experimental.Callable, visit_traced),
    (functools.partial, visit_partial),
    (staticmethod, visit_wrapped),
    (classmethod, visit_wrapped),
    (property, visit_property),
)
_OF_TRACKED = ((list, _list), (dict, _dict), (set, _set))

# These may be made anew for every look at them, or be one object or many by chance.
UNNUMBERED = frozenset(
    {
        *(
            visit_builtin,
            visit_descriptor,
            _dtype,
            visit_method,
            visit_named,
            _proxy,
            _scalar,
            _tf_dtype,
        ),
        *(_tuple, _value),
    }
)
_VALUES = (
    keras.constraints.Constraint,
    keras.DTypePolicy,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
)


@lru_cache(maxsize=1024)
def visit_for(kind):
    """Return the function that describes things of a type."""
    if kind in _EXACT:
        return _EXACT[kind]
    if kind.__name__ == "cython_function_or_method":
        return visit_named
    if issubclass(kind, _VALUES) and is_library(kind.__module__):
        return _value
    bases = _OF_TRACKED if kind.__module__ in private.TRACKED else _BY_BASE
    if bases is _OF_TRACKED and hasattr(kind, "__wrapped__"):
        return _proxy
    return next((visit for base, visit in bases if issubclass(kind, base)), _instance)
