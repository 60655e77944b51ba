"""Keras models by their configuration and their state."""

import contextlib
import inspect
import threading
import types
import warnings

import keras

from skann._keras.randomness import fresh_names, seeded_globals, seeded_keras
from skann._keras.state import (
    positions_of_optimizer,
    restore,
    state_of,
    take_trainable,
)
from skann._runtime import private, start


def is_serialisable(model):
    """Whether a model's configuration says all there is to say of it.

    A subclass of ``keras.Model`` may be built from what no configuration holds, and of
    a lambda Keras keeps the code without the names it uses.
    """
    keras_own = type(model).__module__.startswith("keras.")
    return keras_own and not any(map(is_lambda, things_in(model)))


def serialise(model):
    """Return a model's configuration, compilation included, and the user's own objects.

    Returns
    -------
    config : dict
        As Keras serialises it.
    custom_objects : dict of str to class or function
        What the configuration names and Keras does not have.
    losses : list of keras.losses.Loss
        The losses themselves: Keras leaves their dtype and some of their arguments,
        such as Huber's delta, out of the configuration.
    """
    things = list(things_in(model))
    with tolerant_of_lambdas(things):
        config = keras.saving.serialize_keras_object(model)
        if config.get("compile_config") and _is_compiled_by_keras(model):
            # What Keras keeps may be gone by now: its .h5 files take it.
            optimizer = keras.saving.serialize_keras_object(model.optimizer)
            config["compile_config"]["optimizer"] = optimizer
    return config, custom_objects_in(things), _losses(model)


def _is_compiled_by_keras(model):
    keras_own = keras.Model.get_compile_config
    return type(model).get_compile_config is keras_own and model.optimizer is not None


def _losses(model):
    given = keras.tree.flatten(getattr(model, "loss", None))
    return [loss for loss in given if isinstance(loss, keras.losses.Loss)]


# Of what is changed while a lambda is serialised, which is everybody's.
_LAMBDAS = threading.RLock()


@contextlib.contextmanager
def tolerant_of_lambdas(things):
    """Let Keras serialise lambdas, if there are any, without a warning.

    It warns that a file with code in it cannot be trusted, and this is none. It quotes
    the source, and would fail for a lambda without one, which came in a pickle.
    """
    if not any(map(is_lambda, things)):
        yield
        return
    with _LAMBDAS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*includes a `lambda`", UserWarning)
        tolerant = vars(inspect) | {"getsource": _source_if_any}
        with private.looking_at_code_by(types.SimpleNamespace(**tolerant)):
            yield


def is_lambda(thing):
    """Whether a thing is a function without a name."""
    return getattr(thing, "__name__", None) == "<lambda>"


def _source_if_any(thing):
    try:
        return inspect.getsource(thing)
    except OSError:
        return ""


def deserialise(config, custom_objects, losses):
    """Return a model made from what `serialise` returned, with initial values."""
    # The configuration comes from a pickle, or from a model in memory: it is as
    # trusted as the code that runs this.
    # The initial values are replaced, and need a seed.
    start.start()
    # Classes of the user's may draw from generators as they please.
    seeded = seeded_globals(0, tensorflow=False) if custom_objects else seeded_keras(0)
    with seeded, fresh_names():
        model = keras.saving.deserialize_keras_object(
            config, custom_objects=custom_objects, safe_mode=False
        )
    for loss, own in zip(_losses(model), losses, strict=True):
        vars(loss).update(vars(own))
    return model


def freeze(model):
    """Return a model as plain data, arrays and the user's own classes and functions."""
    return {
        "made_of": serialise(model),
        "state": state_of(model),
        "optimized": positions_of_optimizer(model),
    }


def thaw(frozen):
    """Return the model that `freeze` was given."""
    return refill(deserialise(*frozen["made_of"]), frozen)


def refill(model, frozen):
    """Give a model like the one that `freeze` was given that one's state."""
    take_trainable(model, frozen["state"])
    optimized = frozen["optimized"]
    if optimized is not None and positions_of_optimizer(model) != optimized:
        if model.optimizer.built:  # By Keras, for what is trainable today.
            model.optimizer = _unbuilt(model.optimizer)
        model.optimizer.build([model.variables[i] for i in optimized])
    restore(model, frozen["state"])
    return model


def _unbuilt(optimizer):
    """Return an optimizer like one, without variables for any model."""
    custom_objects = custom_objects_in([optimizer, *held_by(optimizer)])
    with keras.saving.CustomObjectScope(custom_objects):
        return type(optimizer).from_config(optimizer.get_config())


def custom_objects_in(things):
    """Return the user's own classes and functions, by the names that Keras gives."""
    found = {}
    for thing in things:
        if not (inspect.isfunction(thing) or inspect.isclass(thing)):
            thing = type(thing)
        if not (thing.__module__ or "").startswith(_KNOWN_TO_KERAS):
            found[keras.saving.get_registered_name(thing)] = thing
    return found


_KNOWN_TO_KERAS = ("keras.", "builtins", "tensorflow.")


def things_in(model):
    """Yield layers, metrics, optimizer, loss, and the functions and parts they hold."""
    yield from things_in_layers(model)
    parts = list(model.metrics)
    if model.compiled:
        parts += [model.optimizer, *keras.tree.flatten(model.loss)]
        parts += given_metrics(model)
    for part in parts:
        yield part
        yield from held_by(part)


def given_metrics(model):
    """Return the metrics that a model was compiled with, as they were given.

    Before they are built, Keras' container of metrics holds none.
    """
    given = private.compiled_with(model)
    return [
        metric
        for name in ("metrics", "weighted_metrics")
        for metric in keras.tree.flatten(given.get(name))
    ]


def things_in_layers(layer):
    """Yield a layer, the layers in it, and the functions and parts they hold."""
    for part in private.layers_in(layer):
        yield part
        yield from held_by(part)


_PARTS = (
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.optimizers.Optimizer,
    keras.losses.Loss,
)


def held_by(part):
    """Yield the functions and parts, such as initializers, that a part holds."""
    for name, value in getattr(part, "__dict__", {}).items():
        # Keras wraps a layer's own methods, and keeps the wrappers in the instance.
        if hasattr(type(part), name):
            continue
        if isinstance(value, _PARTS):
            yield value
            yield from held_by(value)
        elif inspect.isfunction(value):
            yield value
