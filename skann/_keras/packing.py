"""Objects of Keras among an estimator's parameters, in pickles and copies.

Keras pickles them by their configuration. That of a loss leaves out arguments such as
Huber's delta, that of a model the state of its random generators, and none can be
loaded that names a class of the user's own. So in what is pickled or copied, another
object stands in the place of each, and turns into one like it.
"""

import copy
import functools

import keras

from skann._keras.round_trip import frozen
from skann._keras.serialisation import (
    custom_objects_in,
    held_by,
    is_lambda,
    thaw,
    tolerant_of_lambdas,
)
from skann._runtime import start


def packed(thing, memo=None):
    """Return a value to be pickled or deep-copied in the place of one.

    Parameters
    ----------
    thing : object
        Searched are dicts, lists, tuples and sets, Keras callbacks, losses and
        ``functools.partial``, in one another.
    memo : dict, default=None
        What was packed before, by identity: what is one object stays one.

    Returns
    -------
    object
        The value itself, if nothing in it needs another in its place.
    """
    memo = {} if memo is None else memo
    if id(thing) not in memo:
        # A list may hold itself.
        memo[id(thing)] = thing, thing
        memo[id(thing)] = _packed(thing, memo), thing
    return memo[id(thing)][0]


def deep_copy(thing):
    """Return a deep copy that lacks nothing."""
    return copy.deepcopy(packed(thing))


def _packed(thing, memo):
    kind = type(thing)
    if kind is dict:
        values = {name: packed(value, memo) for name, value in thing.items()}
        return _changed(thing, thing.values(), values.values(), lambda: values)
    if kind in (list, tuple, set, frozenset):
        values = [packed(value, memo) for value in thing]
        return _changed(thing, thing, values, lambda: kind(values))
    if kind is functools.partial:
        args, keywords = packed(thing.args, memo), packed(thing.keywords, memo)
        given = (thing.args, thing.keywords)
        make = lambda: functools.partial(thing.func, *args, **keywords)  # noqa: E731
        return _changed(thing, given, (args, keywords), make)
    if isinstance(thing, keras.callbacks.Callback):
        held = packed(vars(thing), memo)
        return thing if held is vars(thing) else Packed(thing, _as_it_is)
    for cls, reduce in _WAYS.items():
        if isinstance(thing, cls):
            return Packed(thing, reduce)
    return thing


def _changed(thing, own, values, make):
    """Return the thing itself where its values are still its own."""
    same = all(mine is yours for mine, yours in zip(own, values, strict=True))
    return thing if same else make()


class Packed:
    """What is pickled and copied in the place of an object, and comes back as one."""

    def __init__(self, thing, reduce):
        self._thing = thing
        self._reduce = reduce

    def __reduce__(self):
        return self._reduce(self._thing)


class _Cloned:
    """What scikit-learn is given to clone in the place of a parameter."""

    def __init__(self, thing):
        self._thing = thing

    def __sklearn_clone__(self):
        return deep_copy(self._thing)


def to_clone(thing):
    """Return a value for scikit-learn to clone in the place of one."""
    return thing if packed(thing) is thing else _Cloned(thing)


def _as_it_is(thing):
    return new_object, (type(thing),), packed(vars(thing))


def _by_config(thing):
    custom_objects = custom_objects_in([thing, *held_by(thing)])
    with tolerant_of_lambdas(vars(thing).values()):
        config = _plain(thing.get_config())
    for name, value in vars(thing).items():
        argument = name.removeprefix("_")
        if is_lambda(value) and argument in config:
            # Keras has its code here, without the names that this uses.
            name = f"<lambda> {argument}"
            config[argument], custom_objects[name] = _function(name), value
    return from_config, (type(thing), config, custom_objects)


def _function(name):
    """Return what Keras writes for a function of the user's own."""
    kind = {"class_name": "function", "registered_name": "function"}
    return {**kind, "module": "builtins", "config": name}


def _plain(value):
    """Return a value whose containers know nothing of the object that tracks them."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, set)):
        kind = list if isinstance(value, list) else set
        return kind(map(_plain, value))
    return value


def _by_model(model):
    return thaw, (packed(frozen(model, is_only_way=True)),)


_WAYS = {
    keras.Model: _by_model,
    keras.losses.Loss: _as_it_is,
    keras.metrics.Metric: _by_config,
    keras.optimizers.Optimizer: _by_config,
}


def from_config(cls, config, custom_objects):
    """Return a metric or optimizer made of its configuration."""
    start.start()  # Their variables are made.
    with keras.saving.CustomObjectScope(custom_objects):
        return cls.from_config(config)


def new_object(cls):
    """Return an object whose constructor was not called."""
    return cls.__new__(cls)
