"""Losses, optimizers and metrics, from what a user may give for them."""

import inspect
from numbers import Real

import keras
import numpy as np

from skann._keras.names import canonical_name, only, snake, takes_logits
from skann._keras.packing import deep_copy
from skann._network.numbers import like, plain
from skann._network.same import same
from skann._network.trial import check_optimizer
from skann._runtime.text import one_line


def _classes_in(module, base):
    return {
        snake(name): thing
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, base) and thing is not base
    }


def loss_of(params, default):
    """Return a loss class or object, and the arguments for a class."""
    loss = only(default if params["loss"] is None else params["loss"])
    if isinstance(loss, (list, tuple, dict)):
        raise ValueError(
            f"loss={loss!r} must be one loss, for the one output of the network."
        )
    arguments = dict(params["loss_kwargs"] or {})
    if isinstance(loss, str):
        known = _classes_in(keras.losses, keras.losses.Loss)
        name = canonical_name(loss)
        if name not in known:
            raise ValueError(
                f"loss={loss!r} is no loss of Keras; it has {sorted(known)}."
            )
        loss = known[name]
    if isinstance(loss, type):
        _check_class("loss", loss, keras.losses.Loss)
        made = _made("loss", loss, arguments)  # Or an error says what is wrong.
        if "float" not in str(made.dtype):
            raise ValueError(
                f"loss_kwargs={arguments} must have a floating type for dtype."
            )
    elif arguments:
        raise ValueError(
            f"loss_kwargs={arguments} (or loss__ parameters) need a loss given by name "
            f"or class; {loss!r} is ready made."
        )
    return loss, arguments


def optimizer_of(params, defaults):
    """Return an optimizer of this fit's own."""
    optimizer = params["optimizer"]
    if optimizer is None:
        optimizer = defaults["optimizer"]
    rate = params["learning_rate"]
    arguments = dict(params["optimizer_kwargs"] or {})
    if isinstance(optimizer, str):
        known = _classes_in(keras.optimizers, keras.optimizers.Optimizer)
        by_name = {name.replace("_", ""): thing for name, thing in known.items()}
        for name in ("lossscaleoptimizer", "multioptimizer"):  # They wrap others.
            by_name.pop(name, None)
        if optimizer.lower().replace("_", "") not in by_name:
            raise ValueError(
                f"optimizer={optimizer!r} is no optimizer of Keras; it has "
                f"{sorted(by_name)}."
            )
        optimizer = by_name[optimizer.lower().replace("_", "")]
    if isinstance(optimizer, type):
        _check_class("optimizer", optimizer, keras.optimizers.Optimizer)
        _check_one_rate(rate, arguments)
        default = defaults["learning_rate"] if rate is None else rate
        arguments.setdefault("learning_rate", default)
        rate = arguments["learning_rate"]
        if isinstance(rate, Real):
            if not 0 < rate < np.inf:  # type: ignore[operator]  # typeshed's Real cannot be compared.
                raise ValueError(
                    f"optimizer_kwargs={arguments} must hold a learning_rate above 0."
                )
            arguments["learning_rate"] = float(rate)
        made = _made("optimizer", optimizer, arguments)
        own = params["optimizer_kwargs"]
        if own and type(made).__module__.startswith("keras."):
            check_optimizer(_made("optimizer", optimizer, arguments), own)
        return made
    if arguments or rate is not None:
        raise ValueError(
            "learning_rate and optimizer_kwargs (or optimizer__ parameters) need an "
            f"optimizer given by name or class; {optimizer!r} is ready made."
        )
    # An optimizer object gathers state; each fit takes one of its own.
    return deep_copy(optimizer)


def _check_one_rate(rate, arguments):
    own = arguments.get("learning_rate")
    if not (rate is None or own is None or same(rate, own)):
        raise ValueError(
            f"learning_rate={rate!r} would have no effect: optimizer_kwargs (or "
            f"optimizer__learning_rate) has {own!r} for it. Give one of the two."
        )


def _check_class(parameter, cls, base):
    if not issubclass(cls, base) or cls is base:
        raise ValueError(
            f"{parameter}={cls.__name__} must be a subclass of {base.__name__}, an "
            "instance of one, or the name of one."
        )


def _made(part, cls, arguments):
    """Return an object of a class of Keras; name the parameter that it refuses."""
    # Its optimizers have **kwargs, which take nothing.
    takes = set(inspect.signature(cls).parameters) - {"kwargs"}
    strange = arguments.keys() - takes
    if strange:
        raise ValueError(
            f"{part}_kwargs (or {part}__ parameters) {sorted(strange)} are no "
            f"parameters of {cls.__name__}, which takes {sorted(takes)}."
        )
    _take_numbers(cls, arguments)
    odd = [k for k, v in arguments.items() if k != "name" and not _is_number(v)]
    if part == "optimizer" and odd:
        raise ValueError(
            f"optimizer_kwargs={arguments} must hold finite numbers in {odd}."
        )
    try:
        return cls(**arguments)
    except Exception as error:
        raise ValueError(
            f"{part}_kwargs={arguments} are refused by {cls.__name__}: "
            f"{one_line(error)}"
        ) from error


def _take_numbers(cls, arguments):
    """Give numbers among the arguments of a class the type that its defaults have."""
    defaults = inspect.signature(cls).parameters
    for name in arguments.keys() & defaults.keys():
        # Of Keras' integers, some have None for a default.
        default = 1 if name in _INTEGERS else defaults[name].default
        arguments[name] = like(arguments[name], default)


def _is_number(value):
    """Whether a value may be what an optimizer takes beside names and objects."""
    if isinstance(value, Real):
        return -np.inf < value < np.inf  # type: ignore[operator]  # typeshed's Real cannot be compared.
    if isinstance(value, list):  # Muon has one of names.
        return bool(value) and all(isinstance(part, str) for part in value)
    return not isinstance(value, (str, bytes, complex, tuple, set, dict, np.ndarray))


_INTEGERS = ("ema_overwrite_frequency", "gradient_accumulation_steps")


def metrics_of(metrics, parameter="metrics"):
    """Return metrics as Keras' ``compile`` takes them, none shared between fits."""
    if metrics is None:
        return None
    while isinstance(metrics, dict) and len(metrics) == 1:
        metrics = only(metrics)
    metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
    while len(metrics) == 1 and isinstance(metrics[0], (list, tuple)):
        metrics = metrics[0]  # Those of the one output.
    return [_metric(metric, parameter) for metric in metrics]


# Keras chooses the metric that fits loss and outputs.
_CHOSEN_BY_KERAS = ("accuracy", "acc")


def _metric(metric, parameter):
    if isinstance(metric, keras.metrics.Metric):
        # A metric object gathers state; each fit takes one of its own.
        return deep_copy(metric)
    if isinstance(metric, type):
        _check_class(parameter, metric, keras.metrics.Metric)
        return _without_arguments(metric, parameter)
    if not isinstance(metric, str) and not callable(metric):
        raise ValueError(
            f"{parameter} must hold names, metrics of Keras or functions; got "
            f"{metric!r}."
        )
    if isinstance(metric, str) and metric not in _CHOSEN_BY_KERAS:
        try:
            known = keras.metrics.get(metric)
        except TypeError as error:
            raise ValueError(_needs_arguments(metric, parameter, error)) from error
        except ValueError:
            raise ValueError(
                f"{parameter} names {metric!r}, which is no metric of Keras."
            ) from None
        if isinstance(known, type):
            _without_arguments(known, parameter)
    return metric


def _without_arguments(metric, parameter):
    try:
        return metric()
    except TypeError as error:
        raise ValueError(_needs_arguments(metric, parameter, error)) from error


def _needs_arguments(metric, parameter, error):
    name = getattr(metric, "__name__", metric)
    return (
        f"{parameter} has {name!r}, which Keras cannot make without arguments "
        f"({one_line(error)}): give an object."
    )


def compile_arguments_of(params):
    """Return the further arguments of Keras' ``compile``."""
    given = dict(params["compile_kwargs"] or {})
    takes = inspect.signature(keras.Model.compile).parameters.keys() - {"self"}
    for name in given:
        if name in _OWN_PARAMETERS:
            raise ValueError(
                f"compile_kwargs={given} must not hold {name!r}: set the parameter "
                f"{name}."
            )
        if name not in takes:
            raise ValueError(
                f"compile_kwargs (or compile__ parameters) has {name!r}, which is no "
                f"parameter of Keras' compile; it takes {sorted(takes)}."
            )
    metrics = given.pop("weighted_metrics", None)
    given = {name: plain(only(v)) for name, v in given.items() if v is not None}
    for name, value in given.items():
        allowed, is_good = _COMPILE_ARGUMENTS[name]
        if not is_good(value):
            raise ValueError(
                f"compile_kwargs has {name}={value!r}, which must be {allowed}."
            )
    if "loss_weights" in given:
        given["loss_weights"] = float(given["loss_weights"])
    if metrics is not None:
        given["weighted_metrics"] = metrics_of(metrics, "compile_kwargs")
    return given


def _is_bool(value):
    return isinstance(value, bool)


def _is_auto(value):
    return isinstance(value, str) and value == "auto"


def _is_weight(value):
    return isinstance(value, Real) and not _is_bool(value) and 0 <= value < _LARGEST  # type: ignore[operator]  # typeshed's Real cannot be compared.


def _is_count(value):
    return isinstance(value, int) and not _is_bool(value) and 1 <= value < 2**31


# What the arguments of Keras' ``compile`` may be, where there is one output.
_LARGEST = float(np.finfo(np.float32).max)  # Else NumPy warns of larger ones.
_COMPILE_ARGUMENTS = {
    "loss_weights": ("a finite number from 0", _is_weight),
    "run_eagerly": ("True or False", _is_bool),
    "auto_scale_loss": ("True or False", _is_bool),
    "jit_compile": ("True, False or 'auto'", lambda v: _is_bool(v) or _is_auto(v)),
    "steps_per_execution": (
        "an integer from 1, or 'auto'",
        lambda v: _is_count(v) or _is_auto(v),
    ),
}
_OWN_PARAMETERS = ("loss", "metrics", "optimizer")


def loss_and_logits(model):
    """Return the name of a compiled model's loss, and whether it takes logits."""
    loss = only(model.loss)
    if isinstance(loss, keras.losses.Loss):
        return canonical_name(loss), takes_logits(loss)
    return canonical_name(loss) if loss is not None else "unknown", False
