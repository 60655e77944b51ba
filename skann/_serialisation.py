"""Keras models by their configuration and the values of their variables."""

import contextlib
import copyreg
import inspect
import types
import warnings

import keras
import numpy as np

# Keras' serialisation has no public way to leave the source of a lambda alone.
from keras.src.saving import serialization_lib

from skann._randomness import fresh_names, seeded_globals


def is_serialisable(model):
    """Whether a model's configuration says all there is to say of it.

    A subclass of ``keras.Model`` may be built from what no configuration holds, and of
    a lambda Keras keeps the code without the names it uses.
    """
    keras_own = type(model).__module__.startswith("keras.")
    return keras_own and not any(
        getattr(thing, "__name__", None) == "<lambda>" for thing in _things_in(model)
    )


def serialise(model):
    """Return a model's configuration, compilation included, and the user's own objects.

    Returns
    -------
    config : dict
        As Keras serialises it.
    custom_objects : dict of str to class or function
        What the configuration names and Keras does not have.
    loss : keras.losses.Loss or None
        The loss itself: Keras leaves its dtype and some of its arguments, such as
        Huber's delta, out of the configuration.
    """
    loss = getattr(model, "loss", None)
    with no_warning_of_lambdas():
        config = keras.saving.serialize_keras_object(model)
    keep = loss if isinstance(loss, keras.losses.Loss) else None
    return config, _custom_objects(model), keep


@contextlib.contextmanager
def no_warning_of_lambdas():
    """Keep Keras from warning of lambdas in a configuration that is not a file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*includes a `lambda`", UserWarning)
        yield


def deserialise(config, custom_objects, loss):
    """Return a model made from what `serialise` returned, with initial values."""
    # The configuration comes from a pickle, or from a model in memory: it is as
    # trusted as the code that runs this.
    # The initial values are replaced, and need a seed.
    with seeded_globals(0, tensorflow=False), fresh_names():
        model = keras.saving.deserialize_keras_object(
            config, custom_objects=custom_objects, safe_mode=False
        )
    if loss is not None:
        vars(model.loss).update(vars(loss))
    return model


def freeze(model):
    """Return a model as plain data, arrays and the user's own classes and functions."""
    optimizer = getattr(model, "optimizer", None)
    return {
        "made_of": serialise(model),
        "values": values_of(model),
        "optimizer_built": optimizer is not None and optimizer.built,
    }


def thaw(frozen):
    """Return the model that `freeze` was given."""
    return refill(deserialise(*frozen["made_of"]), frozen)


def refill(model, frozen):
    """Give a model like the one that `freeze` was given that one's values."""
    if frozen["optimizer_built"]:
        model.optimizer.build(model.trainable_variables)
    # Where it was not built, Keras may have built it meanwhile.
    variables = _variables(model)[: len(frozen["values"])]
    for variable, value in zip(variables, frozen["values"], strict=True):
        variable.assign(value)
    return model


def from_config(cls, config):
    """Return a metric or optimizer made of its configuration."""
    return cls.from_config(config)


def _reduce_by_config(part):
    return from_config, (type(part), part.get_config())


def _reduce_loss(loss):
    # Keras leaves some arguments of a loss out of its configuration.
    return copyreg.__newobj__, (type(loss),), dict(vars(loss))


def _reduce_model(model):
    return thaw, (freeze(model),)


def _deepcopy_model(model, memo):
    return memo.setdefault(id(model), thaw(freeze(model)))


def make_picklable():
    """Let objects of Keras that are parameters be copied and pickled, losing nothing.

    scikeras does so too when it is imported, but with less: losses lose arguments such
    as Huber's delta, and objects of the user's own classes cannot be loaded.
    """
    keras.losses.Loss.__reduce__ = _reduce_loss
    keras.metrics.Metric.__reduce__ = _reduce_by_config
    keras.optimizers.Optimizer.__reduce__ = _reduce_by_config
    keras.Model.__reduce__ = _reduce_model
    keras.Model.__deepcopy__ = _deepcopy_model
    tolerant = vars(inspect) | {"getsource": _source_if_any}
    serialization_lib.inspect = types.SimpleNamespace(**tolerant)


def _source_if_any(thing):
    """Return the source of a function, or nothing where there is none.

    Keras quotes it in a warning, and would fail for a lambda that came in a pickle.
    """
    try:
        return inspect.getsource(thing)
    except OSError:
        return ""


def copy_model(model):
    """Return a copy of a ready Keras model, weights included, its optimizer fresh."""
    copy = deserialise(*serialise(model))
    for variable, value in zip(copy.variables, model.variables, strict=True):
        variable.assign(value)
    return copy


def values_of(model):
    """Return the values of all that decides how a model predicts and goes on training.

    Weights, optimizer state and the state of its random generators, which Keras' own
    ``.keras`` file leaves out.
    """
    return [np.copy(v.numpy()) for v in _variables(model)]


def assign_values(model, values):
    """Give a model's variables the values that `values_of` returned."""
    for variable, value in zip(_variables(model), values, strict=True):
        variable.assign(value)


def _variables(model):
    optimizer = getattr(model, "optimizer", None)  # None before it is compiled
    trained = optimizer.variables if optimizer is not None and optimizer.built else []
    return [*model.variables, *trained]


def _custom_objects(model):
    found = {}
    for thing in _things_in(model):
        if not (inspect.isfunction(thing) or inspect.isclass(thing)):
            thing = type(thing)
        if not (thing.__module__ or "").startswith(_KNOWN_TO_KERAS):
            found[keras.saving.get_registered_name(thing)] = thing
    return found


_KNOWN_TO_KERAS = ("keras.", "builtins", "tensorflow.")


def _things_in(model):
    """Yield layers, metrics, optimizer, loss, and the functions and parts they hold."""
    parts = [*model._flatten_layers(), *model.metrics]
    if model.compiled:
        parts += [model.optimizer, model.loss]
        # Before they are built, Keras' container of metrics holds none.
        given = model._compile_config.config if model._compile_config else {}
        for name in ("metrics", "weighted_metrics"):
            parts += given.get(name) or []
    for part in parts:
        yield part
        yield from _held_by(part)


def _held_by(part):
    """Yield activations, initializers, regularizers and functions that a part holds."""
    keras_parts = (
        keras.initializers.Initializer,
        keras.regularizers.Regularizer,
        keras.constraints.Constraint,
        keras.optimizers.schedules.LearningRateSchedule,
    )
    for name, value in getattr(part, "__dict__", {}).items():
        # Keras wraps a layer's own methods, and keeps the wrappers in the instance.
        if hasattr(type(part), name):
            continue
        if inspect.isfunction(value) or isinstance(value, keras_parts):
            yield value
