"""Copies of the user's Keras callbacks: each fit, and each clone, has its own."""

import copy

import keras

from skann._packing import packed


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
    models = [vars(c).get("_model") for c in callbacks]
    nothing = {id(model): (None, model) for model in models if model is not None}
    try:
        return copy.deepcopy(packed(callbacks, dict(nothing)))
    except Exception:  # Whatever the copy of a user's object may raise.
        return _without_copies_of_all(callbacks, nothing)


def _without_copies_of_all(callbacks, nothing):
    """Copy callbacks that hold what has no copy, a file or a lock: that is shared.

    Callbacks that know one another go on to do so.
    """
    copies = [type(c).__new__(type(c)) for c in callbacks]
    memo = {id(c): new for c, new in zip(callbacks, copies, strict=True)}
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
