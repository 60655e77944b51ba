"""Copies of the user's Keras callbacks: each fit, and each clone, has its own."""

import copy

import keras
import tensorflow as tf

from skann._keras.packing import packed
from skann._runtime.private import model_of


def fresh_copies(callbacks, name="callbacks"):
    """Return copies of the user's Keras callbacks, in one list.

    A callback gathers state while it runs, and holds the model. Each fit takes copies,
    so that none carries anything from one fit, fold or thread to another.

    Parameters
    ----------
    callbacks : Callback, CallbackList, or list or tuple of these and of such lists
    name : str, default="callbacks"
        Whose value it is.

    Raises
    ------
    TypeError
        For anything that is no ``keras.callbacks.Callback``.
    """
    return _copies(list(_flat(callbacks, name)))


def _flat(callbacks, name):
    if callbacks is None:
        return
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = callbacks.callbacks
    if isinstance(callbacks, (list, tuple)):
        for part in callbacks:
            if part is None:
                raise TypeError(_wrong(name, part))
            yield from _flat(part, name)
    elif isinstance(callbacks, keras.callbacks.Callback):
        yield callbacks
    else:
        raise TypeError(_wrong(name, callbacks))


def _wrong(name, value):
    return f"{name} must be instances of keras.callbacks.Callback; got {value!r}."


def _copies(callbacks):
    # A model from an earlier use is left behind rather than copied. (A class that does
    # not call Callback's constructor has none.)
    models = [model_of(c) for c in callbacks]
    nothing = {id(model): (None, model) for model in models if model is not None}
    shared = _owners_in(callbacks, nothing)
    try:
        return copy.deepcopy(packed(callbacks, dict(nothing)), dict(shared))
    except Exception:  # Whatever the copy of a user's object may raise.
        return _without_copies_of_all(callbacks, nothing, shared)


def _owners_in(things, nothing):
    """Return a memo for copies of what is to stay itself: objects of tensorflow.

    Many own something outside of Python, a file or a table, which is gone once one of
    its owners is: a copy of a summary writer would close it for the writer, and a copy
    of tensorflow's context, which it holds, take its caches away.
    """
    shared, seen, left = {}, set(nothing), list(things)
    while left and len(seen) < _MOST_LOOKED_AT:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if type(thing).__module__.startswith("tensorflow."):
            if not isinstance(thing, (tf.Tensor, tf.Variable)):
                shared[id(thing)] = thing
        elif isinstance(thing, (list, tuple, set, frozenset)):
            left += thing
        elif isinstance(thing, dict):
            left += thing.values()
        elif not isinstance(thing, type):
            left += getattr(thing, "__dict__", {}).values()
    return shared


# Of what a callback may hold; a table of objects would take long.
_MOST_LOOKED_AT = 10_000


def _without_copies_of_all(callbacks, nothing, shared):
    """Copy callbacks that hold what has no copy, a file or a lock: that is shared.

    Callbacks that know one another go on to do so.
    """
    copies = [type(c).__new__(type(c)) for c in callbacks]  # type: ignore[call-overload]  # Of anything.
    copied = {id(c): new for c, new in zip(callbacks, copies, strict=True)}
    memo = {**shared, **copied}
    for callback, new in zip(callbacks, copies, strict=True):
        for name, value in vars(callback).items():
            vars(new)[name] = _copied_where_possible(value, memo, nothing)
    return copies


def _copied_where_possible(value, memo, nothing):
    if id(value) in nothing:
        return None
    try:
        return copy.deepcopy(packed(value, dict(nothing)), dict(memo))
    except Exception:
        if type(value) is dict:
            return {
                k: _copied_where_possible(v, memo, nothing) for k, v in value.items()
            }
        if type(value) in (list, tuple, set):
            return type(value)(
                _copied_where_possible(part, memo, nothing) for part in value
            )
        return value


def to_clone(callbacks):
    """Return what scikit-learn is to clone in the place of callbacks, or None.

    None stands for what is no list of callbacks, of which the fit will tell.
    """
    if not isinstance(callbacks, (list, tuple)) or not all(
        isinstance(c, keras.callbacks.Callback) for c in callbacks
    ):
        return None
    return _ToClone(callbacks)


class _ToClone:
    def __init__(self, callbacks):
        self._callbacks = callbacks

    def __sklearn_clone__(self):
        copies = _copies(list(self._callbacks))
        return tuple(copies) if isinstance(self._callbacks, tuple) else copies
