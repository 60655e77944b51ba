"""What a build function is given, by name, of parameters and data.

A parameter of the network that was not set on the estimator (None) leaves the build
function's own default alone. The defaults of the built-in network are for skann's own
function, and for functions that ask for a parameter without having a default for it.
"""

import functools
import inspect

from skann._data.targets import TARGETS, asked_of_network
from skann._keras.names import canonical_name, takes_logits
from skann._network.numbers import plain
from skann._network.same import same
from skann._runtime.start import is_of_keras, is_subclass_of_keras
from skann.models import build_mlp, initializer_name

# Parameters that shape a network or how it learns; None where they are not set. Where
# the build function does not take one of them, setting it would change nothing, which
# is an error.
NETWORK_PARAMETERS = (
    "n_hidden",
    "n_neurons",
    "hidden_layer_sizes",
    "activation",
    "output_activation",
    "kernel_initializer",
    "dropout",
    "normalization",
    "l1",
    "l2",
    "dtype",
)
COMPILE_PARAMETERS = (
    "loss",
    "loss_kwargs",
    "metrics",
    "optimizer",
    "optimizer_kwargs",
    "compile_kwargs",
    "learning_rate",
)

# What a fit that goes on with its network cannot change: the units neither, of which a
# regressor has one more.
FIXED_BY_BUILDING = (
    "model",
    "model_kwargs",
    *NETWORK_PARAMETERS,
    *COMPILE_PARAMETERS,
    "normalize_X",
    "normalize_y",
)

# Those that are numbers, or may be.
NUMBERS = ("n_hidden", "n_neurons", "dropout", "l1", "l2", "learning_rate")

_REQUIRED = inspect.Parameter.empty
_OF_BUILD_MLP = inspect.signature(build_mlp).parameters

# What the built-in network has where a parameter is not set. The type is chosen by
# each fit, and the loss and the activation of the outputs by its y.
BUILT_IN = {
    **dict.fromkeys(COMPILE_PARAMETERS),
    **{name: _OF_BUILD_MLP[name].default for name in NETWORK_PARAMETERS},
    "optimizer": "adam",
    "learning_rate": 3e-3,
}


def is_own(build_fn):
    """Whether networks are built by skann's own function, and known to nobody else."""
    return build_fn is None or build_fn is build_mlp


def filled_in(params, defaults):
    """Return the parameters with those of the built-in network where none is set."""
    unset = {name: defaults[name] for name in BUILT_IN if params[name] is None}
    if params["dtype"] == "auto":
        unset["dtype"] = defaults["dtype"]
    return {**params, **unset}


def signature_parameters(build_fn):
    """Return the names a build function takes with their defaults, and whether any.

    Returns
    -------
    dict of str to object
        ``inspect.Parameter.empty`` where a name has no default.
    takes_any : bool
        Whether it has ``**kwargs``.
    """
    if build_fn is None:
        build_fn = build_mlp
    parameters = _signature(build_fn)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {p.name: p.default for p in parameters if p.kind not in variable}, takes_any


def _signature(build_fn):
    if is_of_keras(build_fn, "Model") or not callable(build_fn):
        return []
    try:
        return list(inspect.signature(build_fn).parameters.values())
    except (ValueError, TypeError):  # Some of Python's own callables have none.
        return []


def passes_on(build_fn):
    """Whether the further keywords of a build function go to Keras, as they are."""
    build_fn = _unbound(build_fn)
    return is_subclass_of_keras(build_fn, "Model")


def call(build_fn, arguments):
    """Call a build function with arguments by name."""
    positional = [p for p in _signature(build_fn) if p.kind is p.POSITIONAL_ONLY]
    arguments = dict(arguments)
    by_position = [arguments.pop(p.name, p.default) for p in positional]
    return build_fn(*by_position, **arguments)


def arguments_for(build_fn, params, defaults, problem, seed):
    """Return what a build function is given, by name, of the parameters and the data.

    Parameters
    ----------
    build_fn : callable
    params : dict
        The estimator's parameters.
    defaults : dict
        Those of the built-in network, and of the constructor for all others.
    problem : Problem
    seed : int

    Raises
    ------
    ValueError
        For what the function needs and nobody gives, for arguments that it does not
        take, and for parameters of the network that it would not see.
    """
    takes, takes_any = signature_parameters(build_fn)
    own = dict(params["model_kwargs"] or {})
    strange = set() if takes_any else own.keys() - takes.keys()
    if strange:
        raise ValueError(
            f"model_kwargs (or model__ parameters) {sorted(strange)} are no parameters "
            f"of the build function {name_of(build_fn)}, which takes {sorted(takes)}."
        )
    offered = {
        **_of_parameters(build_fn, params, defaults, takes),
        **_of_data(build_fn, params, problem, seed, takes),
    }
    arguments = {k: v for k, v in offered.items() if k in takes}
    if takes_any and not passes_on(build_fn):
        arguments |= {k: params[k] for k in NETWORK_PARAMETERS if _is_set(params, k)}
    # Keras' layers refuse NumPy's integers, which come of a grid of np.arange.
    arguments = {name: plain(value) for name, value in (arguments | own).items()}
    _check_complete(build_fn, arguments, takes)
    unseen = [name for name in NETWORK_PARAMETERS if name not in arguments]
    check_effect(unseen, params, build_fn, "has no parameter of this name")
    check_not_overridden(NETWORK_PARAMETERS, params, build_fn)
    return arguments


def _of_parameters(build_fn, params, defaults, takes):
    """Return the estimator's parameters that are set, or needed."""
    filled = filled_in(params, defaults)
    if is_own(build_fn):
        return filled
    # Of these only skann's own function makes something by itself.
    if filled["kernel_initializer"] == "auto":
        filled["kernel_initializer"] = _initializer_of(filled["activation"])
    if filled["hidden_layer_sizes"] is None:
        filled["hidden_layer_sizes"] = (filled["n_neurons"],) * filled["n_hidden"]
    return {
        name: value
        for name, value in filled.items()
        if (takes.get(name) is _REQUIRED or _is_set(params, name, defaults))
        and name not in ("model", "compile_kwargs")  # The latter are scikeras'.
    }


def _is_set(params, name, defaults=None):
    if name in BUILT_IN or defaults is None:
        return params[name] is not None
    return not same(params[name], defaults[name])


def _initializer_of(activation):
    if isinstance(activation, (list, tuple)):
        activation = activation[0] if activation else None
    return initializer_name(activation)


def _of_data(build_fn, params, problem, seed, takes):
    """Return what the data and the fit ask of the network."""
    given = {
        name: value
        for source in (takes, params, params["model_kwargs"] or {})
        for name, value in source.items()
        if name in ("loss", "output_activation")
        and value is not None
        and value is not _REQUIRED
    }
    loss = given.get("loss", TARGETS[problem.kind].loss)
    units, output_activation = asked_of_network(
        problem.kind,
        canonical_name(loss),
        takes_logits(loss, params["loss_kwargs"]),
        given.get("output_activation"),
    )
    asked = {
        "input_shape": problem.input_shape,
        "n_outputs": units or problem.n_outputs,
        "n_classes": None if problem.classes is None else len(problem.classes),
    }
    own = _unbound(build_fn) is build_mlp
    if takes.get("loss") is _REQUIRED:
        asked["loss"] = loss
    if own or takes.get("output_activation") is _REQUIRED:
        asked["output_activation"] = output_activation
    default = takes.get("random_state")
    if params["random_state"] is not None or default is None or default is _REQUIRED:
        asked["random_state"] = seed
    return asked


def _check_complete(build_fn, arguments, takes):
    given = {*arguments, "meta", "compile_kwargs", "params"}
    needed = [n for n, value in takes.items() if value is _REQUIRED and n not in given]
    if {"X", "y"} & set(needed):
        raise ValueError(
            f"The build function {name_of(build_fn)} takes X or y, as the models of "
            "keras.wrappers do; here it is given no data. Let it take input_shape, "
            "n_outputs or n_classes instead."
        )
    if needed:
        raise ValueError(
            f"The build function {name_of(build_fn)} needs {needed}: give them in "
            "model_kwargs, or as model__ parameters."
        )


def asks_for_all(takes):
    """Whether a build function takes scikeras' ``params``, a dict of all parameters."""
    return takes.get("params") is _REQUIRED


def all_parameters(params, defaults):
    """Return all parameters in one dict, as scikeras' ``params`` has them."""
    own = params["model_kwargs"] or {}
    of_model = {f"model__{name}": value for name, value in own.items()}
    return {**filled_in(params, defaults), **of_model}


def check_effect(names, params, build_fn, why):
    """Raise for parameters that were set and that the network would never see."""
    takes, _ = signature_parameters(build_fn)
    names = () if asks_for_all(takes) else names
    for name in names:
        value = params[name]
        if name not in takes and not _leaves_it(value):
            raise ValueError(
                f"{name}={value!r} would have no effect: "
                f"model={name_of(build_fn)} {why}. Leave {name} at its default, or let "
                "the build function take it."
            )


def check_not_overridden(names, params, build_fn):
    """Raise for parameters that were set, and have another value in model_kwargs.

    None in there is for setting a parameter back, whatever the estimator has.
    """
    takes, _ = signature_parameters(build_fn)
    names = () if asks_for_all(takes) else names
    own = params["model_kwargs"] or {}
    for name in names:
        value, other = params[name], own.get(name)
        if other is not None and not _leaves_it(value) and not same(value, other):
            raise ValueError(
                f"{name}={value!r} would have no effect: model_kwargs (or "
                f"model__{name}) has {other!r} for it. Give one of the two."
            )


def _leaves_it(value):
    return value is None or (isinstance(value, str) and value == "auto")


def name_of(build_fn):
    """Return the name of a build function, for messages."""
    build_fn = build_mlp if build_fn is None else _unbound(build_fn)
    return getattr(build_fn, "__name__", None) or type(build_fn).__name__


def _unbound(build_fn):
    while isinstance(build_fn, functools.partial):
        build_fn = build_fn.func
    return build_fn
