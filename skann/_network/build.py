"""Build function + parameters + data -> compiled Keras model, by scikeras.

Of scikeras it takes the build-function protocol (``meta``, ``compile_kwargs``) and the
making of optimizers and losses from names, classes and routed parameters.
"""

import keras
import numpy as np

from skann._data.targets import TARGETS
from skann._keras.input_layers import add_input_layers
from skann._keras.names import canonical_name, is_keras_loss, only, takes_logits
from skann._keras.randomness import fresh_names, seeded_globals, seeded_keras
from skann._keras.round_trip import copy_model
from skann._keras.structure import as_declared, single
from skann._keras.unit_layer import add_unit, in_full_precision
from skann._network.arguments import (
    COMPILE_PARAMETERS,
    NETWORK_PARAMETERS,
    all_parameters,
    arguments_for,
    asks_for_all,
    call,
    check_effect,
    check_not_overridden,
    filled_in,
    is_own,
    name_of,
    passes_on,
    signature_parameters,
)
from skann._network.compile import (
    compile_arguments_of,
    loss_and_logits,
    loss_of,
    metrics_of,
    optimizer_of,
)
from skann._network.precision import takes_float64
from skann._network.problem import Head
from skann._network.scikeras import KerasClassifier, KerasRegressor
from skann._runtime import start
from skann._runtime.text import one_line
from skann.exceptions import ModelError
from skann.models import build_mlp


def build_model(params, defaults, problem, seed, unit=None, inputs=None):
    """Build and compile the network of one fit.

    Parameters
    ----------
    params, defaults : dict
        The estimator's parameters; those of the built-in network where one is not set,
        and the defaults of the constructor for all others.
    problem : Problem
    seed : int
        Decides the initial weights.
    unit : Unit, default=None
        What the outputs are brought to by a layer more.
    inputs : InputScale, default=None
        What the inputs are brought to by three layers more.

    Returns
    -------
    keras.Model
        Built and compiled.

    Raises
    ------
    ModelError
        If what was built cannot be trained on such data.
    ValueError, TypeError
        For a parameter that is unknown, or that would have no effect.
    """
    start.start()
    build_fn = params["model"]
    make = _maker(build_fn, params, defaults, problem, seed)

    def compiled(meta, compile_kwargs):
        model = make(meta, compile_kwargs)
        _check_is_model(model, build_fn)
        if not model.compiled:
            model.compile(**compile_kwargs)
        elif "compile_kwargs" not in signature_parameters(build_fn)[0]:
            why = "compiles the model"
            check_effect(COMPILE_PARAMETERS, params, build_fn, why)
            check_not_overridden(COMPILE_PARAMETERS, params, build_fn)
        return model

    # Keras draws from Python's generator for every initializer without a seed, and
    # some networks make their layers only when they are called.
    seeded = seeded_keras if _draws_by_keras_only(params) else seeded_globals
    with seeded(seed):
        with fresh_names(beside=not is_own(build_fn)):
            model = _by_scikeras(compiled, params, defaults, problem)
        _check_shapes(model, problem, build_fn)
        _check_precision(model)
    return in_units(model, inputs, unit)


def in_units(model, inputs, unit):
    """Return a model whose layers bring its inputs and its outputs to units.

    Parameters
    ----------
    model : keras.Model
    inputs : InputScale or None
    unit : Unit or None
    """
    if inputs is not None:
        model = add_input_layers(model, inputs)
    return model if unit is None else add_unit(model, unit)


def _check_precision(model):
    in_float64 = any(v.dtype == "float64" for v in model.trainable_variables)
    if in_float64 and not takes_float64(model.optimizer):
        raise ValueError(
            f"optimizer={type(model.optimizer).__name__} cannot train a network in "
            "float64: give dtype='float32', or another optimizer."
        )


def _draws_by_keras_only(params):
    """Whether nothing but Keras' own code chooses the initial weights."""
    initializer = params["kernel_initializer"]
    is_named = initializer is None or isinstance(initializer, str)
    return is_own(params["model"]) and is_named


def _maker(build_fn, params, defaults, problem, seed):
    """Return a function of (meta, compile_kwargs) which makes the user's model."""
    if isinstance(build_fn, keras.Model):
        if params["model_kwargs"]:
            raise ValueError(
                f"model_kwargs={params['model_kwargs']} would have no effect: model is "
                "a model already."
            )
        check_effect(NETWORK_PARAMETERS, params, build_fn, "is a model already")
        return lambda meta, compile_kwargs: copy_model(build_fn)
    if isinstance(build_fn, keras.layers.Layer):
        raise ModelError(
            f"model={build_fn!r} must be a function or a keras.Model, and is a layer."
        )
    build_fn = build_fn or build_mlp
    arguments = arguments_for(build_fn, params, defaults, problem, seed)
    takes, takes_any = signature_parameters(build_fn)
    takes_any = takes_any and not passes_on(build_fn)

    def make(meta, compile_kwargs):
        protocol = {"meta": meta, "compile_kwargs": compile_kwargs}
        protocol = {k: v for k, v in protocol.items() if k in takes or takes_any}
        if asks_for_all(takes):
            protocol["params"] = all_parameters(params, defaults)
        return call(build_fn, {**protocol, **arguments})

    return make


def _by_scikeras(build_fn, params, defaults, problem):
    loss, loss_kwargs = loss_of(params, TARGETS[problem.kind].loss)
    if problem.n_columns == 1 and problem.kind == "regression":
        _check_no_class_loss(loss)
    if _is_own_in_float64(params, defaults):
        # Keras computes a loss in float32, whatever the network's type.
        if isinstance(loss, type):
            loss_kwargs.setdefault("dtype", "float64")
        elif takes_logits(loss) and params["output_activation"] is not None:
            loss = in_full_precision(loss)  # Or it would not see the logits.
    optimizer = optimizer_of(params, defaults)
    wrapper = KerasRegressor if problem.kind == "regression" else KerasClassifier
    routed = {f"loss__{k}": v for k, v in loss_kwargs.items()}

    further = compile_arguments_of(params)

    def with_metrics(meta, compile_kwargs):
        # Left to Keras, which names them in the history as the user did.
        metrics = metrics_of(params["metrics"])
        return build_fn(meta, {**compile_kwargs, "metrics": metrics, **further})

    X, y = _example(problem)
    built = wrapper(model=with_metrics, loss=loss, optimizer=optimizer, **routed)
    return built.initialize(X, y).model_


def _check_no_class_loss(loss):
    if "categorical" in canonical_name(loss):
        raise ValueError(
            f"loss={canonical_name(loss)!r} is for classes, and this is a regressor."
        )


def _is_own_in_float64(params, defaults):
    return is_own(params["model"]) and filled_in(params, defaults)["dtype"] == "float64"


def _example(problem):
    """Return a few rows of the data's shapes and labels: scikeras reads no more."""
    if problem.kind == "regression":
        y = np.array([0.5, 1.5])  # Of whole numbers scikeras would make classes.
        y = np.tile(y[:, None], problem.n_columns) if problem.n_columns > 1 else y
    elif problem.kind == "multilabel-indicator":
        y = np.tile(np.array([[0], [1]]), (1, problem.n_columns))
    else:
        y = np.asarray(problem.classes)
    return np.zeros((len(y), *problem.input_shape), dtype=np.float32), y


def _check_is_model(model, build_fn):
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"The build function model={name_of(build_fn)} must return a keras.Model; "
            f"it returned {type(model).__name__}."
        )


def _check_shapes(model, problem, build_fn):
    """Raise ModelError where the network takes other rows, or gives other outputs."""
    shape = _output_shape(model, problem.input_shape, build_fn)
    if not isinstance(shape, tuple):
        raise ModelError(
            f"The network of model={name_of(build_fn)} must have one output."
        )
    fits = len(shape) == 2 and shape[1] in problem.allowed_outputs
    if not fits and not (len(shape) == 2 and _gives_more(model, problem)):
        wanted = " or ".join(str(n) for n in problem.allowed_outputs)
        raise ModelError(
            f"The network of model={name_of(build_fn)} gives outputs of shape "
            f"{shape[1:]} for each row; this y ({problem.kind}) needs ({wanted},)."
        )
    for part in ("loss", "optimizer"):
        own_step = type(model).train_step is not keras.Model.train_step
        if getattr(model, part) is None and not own_step:
            raise ModelError(
                f"model={name_of(build_fn)} is compiled, and without a {part}."
            )


def _gives_more(model, problem):
    """Whether several outputs are for a single y, which a loss of the user's knows."""
    if problem.kind != "regression" or problem.n_columns > 1:
        return False
    own = any(
        getattr(type(model), name) is not getattr(keras.Model, name)
        for name in ("train_step", "compute_loss")
    )
    return own or not is_keras_loss(only(model.loss))


def _output_shape(model, input_shape, build_fn):
    """Return the shape of a network's outputs, building it where it is not built."""
    rows = (None, *input_shape)
    sequential = type(model) is keras.Sequential
    if sequential and model.built and model.input_shape == rows:
        return model.output_shape
    try:
        row = keras.KerasTensor(rows, dtype="float32")
        outputs = single(model(as_declared(model, row)))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(
            f"The network of model={name_of(build_fn)} does not take rows of shape "
            f"{input_shape}: {one_line(error)}"
        ) from error
    return getattr(outputs, "shape", None)


def head_of(model, input_shape):
    """Return the head of a network that was checked before."""
    layer = model.layers[-1] if model.layers else None
    activation = "unknown"
    if isinstance(layer, (keras.layers.Dense, keras.layers.Activation)):
        activation = getattr(layer.activation, "__name__", "unknown")
    elif isinstance(layer, keras.layers.Softmax):
        activation = "softmax"
    n_units = _output_shape(model, input_shape, None)[-1]
    loss = only(model.loss)
    types = getattr(layer, "compute_dtype", None), getattr(loss, "dtype", "float32")
    is_cast = len(set(types)) > 1
    name, from_logits = loss_and_logits(model)
    return Head(name, from_logits, n_units, activation, loss, is_cast)
