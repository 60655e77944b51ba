"""Which networks need no Keras model to be built: plain stacks with known settings."""

from numbers import Real
from typing import Any

from skann._data.targets import TARGETS, asked_of_network
from skann._keras.names import canonical_name
from skann._network.arguments import filled_in, is_own
from skann._network.network import Network
from skann._runtime.start import computes_in_float32, is_limited_by_keras
from skann._training.numpy.description import (
    LOSSES,
    DenseLayer,
    Description,
    OptimizerSettings,
    cast,
)
from skann._training.numpy.initial import VARIANCES, initial_parameters
from skann._training.numpy.stack import TRAINED_ACTIVATIONS
from skann._training.numpy.state import ArrayState
from skann._training.work import compiling_pays
from skann.models import initializer_name, kernel_seeds

# Parameters that are not known here: they are to be None, 0 or empty.
NEED_KERAS = (
    *("model_kwargs", "dropout", "normalization"),
    *("loss_kwargs", "metrics", "compile_kwargs"),
)


def network_in_arrays(recipe, *, n_steps):
    """Return the network that ``build_model`` would return of the same recipe.

    Parameters
    ----------
    recipe : Recipe
    n_steps : int
        That are planned.

    Returns
    -------
    Network or None
        None where the parameters ask for more than is known here, and where so many
        steps are worth compiling.
    """
    problem = recipe.problem
    params = filled_in(recipe.params, recipe.defaults)
    settings = _optimizer_settings(params)
    if settings is None or not _is_known(params, problem):
        return None
    asked = _loss_and_outputs(params, problem)
    activations = _activations(params)
    if asked is None or activations is None:
        return None
    loss, n_outputs, output_activation = asked
    units = [*problem.input_shape, *_sizes(params), n_outputs]
    activations.append(output_activation)
    penalty = {name: cast(params[name]) for name in ("l1", "l2")}
    layers = tuple(
        DenseLayer(n_inputs, n_outputs, activation, **penalty)
        for n_inputs, n_outputs, activation in zip(
            units, units[1:], activations, strict=False
        )
    )
    description = Description(layers, loss, params["dtype"])
    if compiling_pays(n_steps, description.n_parameters):
        return None
    named, seeds = params["kernel_initializer"], kernel_seeds(recipe.seed)
    names = [initializer_name(a) if named == "auto" else named for a in activations]
    if not all(name in _INITIALIZERS for name in names):
        return None
    parameters = initial_parameters(description, names, [next(seeds) for _ in layers])
    rate = cast(params["learning_rate"])
    return Network(ArrayState(description, settings, rate, parameters), source=recipe)


def _is_known(params, problem):
    rate = params["learning_rate"]
    return (
        is_own(params["model"])
        and not is_limited_by_keras()
        and not any(_is_given(params[name]) for name in NEED_KERAS)
        and params["kernel_initializer"] in ("auto", *_INITIALIZERS)
        and params["dtype"] in ("float32", "float64")
        and isinstance(rate, Real)
        and rate < 1e38
        and len(problem.input_shape) == 1
        and computes_in_float32()
    )


# What is looked for among them may be anything, and unhashable.
_INITIALIZERS = tuple(VARIANCES)


def _is_given(value):
    # An empty text is an error elsewhere.
    return isinstance(value, str) or bool(value)


def _sizes(params):
    sizes = params["hidden_layer_sizes"]
    if sizes is None:
        sizes = [params["n_neurons"]] * params["n_hidden"]
    return [int(size) for size in sizes]


def _activations(params):
    """Return the names of the hidden layers' activations, or None for others."""
    given, n_layers = params["activation"], len(_sizes(params))
    names = list(given) if isinstance(given, (list, tuple)) else [given] * n_layers
    are_known = all(
        isinstance(name, str) and name in TRAINED_ACTIVATIONS for name in names
    )
    return names if are_known and len(names) == n_layers else None


def _loss_and_outputs(params, problem):
    """Return loss, number of outputs and their activation; None where it is another."""
    loss, activation = params["loss"], params["output_activation"]
    if not all(part is None or isinstance(part, str) for part in (loss, activation)):
        return None
    name = canonical_name(TARGETS[problem.kind].loss if loss is None else loss)
    units, activation = asked_of_network(problem.kind, name, False, activation)
    activation = activation or "linear"
    is_known = name in LOSSES and activation in LOSSES[name]
    if (problem.kind == "regression" and "error" not in name) or not is_known:
        return None
    return name, units or problem.n_outputs, activation


def _optimizer_settings(params):
    """Return what Keras' Adam or SGD is set to, or None for another optimizer."""
    name, given = params["optimizer"], params["optimizer_kwargs"] or {}
    kind = name.lower() if isinstance(name, str) else ""
    if kind not in _NUMBERS or not given.keys() <= _NUMBERS[kind].keys():
        return None
    for setting, value in given.items():
        least, most = _NUMBERS[kind][setting]
        if isinstance(value, bool) or not isinstance(value, Real):
            return None
        if not least <= value <= most:  # type: ignore[operator]  # typeshed's Real cannot be compared.
            return None
    numbers: dict[str, Any] = {k: float(v) for k, v in given.items()}
    return OptimizerSettings(kind, **numbers)


# Within these, nothing is to be said of them.
_NUMBERS: dict[str, dict[str, tuple[float, float]]] = {
    "adam": {"beta_1": (0, 0.999), "beta_2": (0, 0.9999), "epsilon": (1e-10, 1)},
    "sgd": {"momentum": (0, 0.999)},
}
