"""Parameters: what values they may have, and those of the parts of an estimator.

The parts are the build function (``model``), the optimizer, the loss and Keras'
``compile``. Their parameters are dicts in the constructor (``model_kwargs``,
``optimizer_kwargs``, ...) and ``model__name``, ``optimizer__name`` and so on in
``set_params`` and in search grids.
"""

import os
from collections.abc import Iterable, Mapping
from inspect import Parameter
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from skann._estimators.of_keras import OfKeras
from skann._network.arguments import signature_parameters
from skann._network.numbers import Number
from skann._runtime.private import HasMethods, StrOptions
from skann._runtime.start import with_keras
from skann._training.numpy.stack import TRAINED_ACTIVATIONS
from skann._training.schedules import FORMULAS

PARTS = ("model", "optimizer", "loss", "compile")

_COUNT = Number(Integral, 1, None, closed="left")
_FROM_ZERO = Number(Real, 0, None, closed="left")
_PATH = [str, os.PathLike, None]

CONSTRAINTS: dict[str, list[Any]] = {
    "model": [callable, OfKeras("Model"), None],
    "n_hidden": [Number(Integral, 0, None, closed="left"), None],
    "n_neurons": [_COUNT, None],
    "hidden_layer_sizes": ["array-like", None],
    "activation": [str, callable, list, tuple, None],
    "output_activation": [str, callable, None],
    "kernel_initializer": [str, OfKeras("initializers.Initializer"), None],
    "dropout": [Number(Real, 0, 1, closed="left"), None],
    "normalization": [StrOptions({"batch", "layer"}), None],
    "l1": [_FROM_ZERO, None],
    "l2": [_FROM_ZERO, None],
    "dtype": [str, None],
    "model_kwargs": [dict, None],
    "loss": [str, callable, OfKeras("losses.Loss"), list, tuple, dict, None],
    "loss_kwargs": [dict, None],
    "metrics": [str, callable, OfKeras("metrics.Metric"), list, tuple, dict, None],
    "optimizer": [str, type, OfKeras("optimizers.Optimizer"), None],
    "learning_rate": [
        Number(Real, 0, None, closed="neither"),
        OfKeras("optimizers.schedules.LearningRateSchedule"),
        StrOptions({"auto"}),
        None,
    ],
    "learning_rate_schedule": [StrOptions(set(FORMULAS)), None],
    "optimizer_kwargs": [dict, None],
    "compile_kwargs": [dict, None],
    "epochs": [_COUNT],
    "batch_size": [_COUNT],
    "shuffle": ["boolean"],
    "validation_fraction": [
        Number(Real, 0, 1, closed="neither"),
        StrOptions({"auto"}),
        None,
    ],
    "validation": [
        StrOptions({"auto", "random", "last"}),
        HasMethods(["split", "get_n_splits"]),
    ],
    "early_stopping": ["boolean", StrOptions({"auto"})],
    "patience": [Number(Integral, 0, None, closed="left")],
    "min_delta": [_FROM_ZERO],
    "monitor": [str],
    "monitor_mode": [StrOptions({"auto", "min", "max"})],
    "restore_best_weights": ["boolean"],
    "checkpoint_path": _PATH,
    "checkpoint_save_best_only": ["boolean"],
    "tensorboard_dir": _PATH,
    "callbacks": [list, tuple, OfKeras("callbacks.Callback"), None],
    "normalize_X": ["boolean", StrOptions({"auto"})],
    "engine": [StrOptions({"auto", "compiled", "keras"})],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}


def check_argument_of_fit(name, value):
    """Raise ValueError for an argument of ``fit`` that its parameter may not have."""
    if name == "verbose":
        allowed: Any = "an integer from 0"
        good = isinstance(value, (bool, Integral)) and value >= 0  # type: ignore[operator]  # typeshed's Real cannot be compared.
    else:
        (allowed,) = CONSTRAINTS[name]
        good = allowed.is_satisfied_by(value)
    if not good:
        raise ValueError(f"fit got {name}={value!r}, which must be {allowed}.")


def check_network_parameters(params):
    """Raise for values whose right ones only Keras knows: activations, dtype, sizes.

    Raises
    ------
    ValueError
        Naming the parameter, what was given and what is allowed.
    """
    sizes = params["hidden_layer_sizes"]
    if sizes is not None:
        if np.ndim(sizes) == 0 or not isinstance(sizes, Iterable):
            raise ValueError(
                f"hidden_layer_sizes={sizes!r} must be a sequence of integers from 1."
            )
        for size in sizes:
            if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
                raise ValueError(
                    f"hidden_layer_sizes must hold integers from 1; got {size!r} in "
                    f"{sizes!r}."
                )
    activations = params["activation"]
    activations = (
        activations if isinstance(activations, (list, tuple)) else [activations]
    )
    for activation in activations:
        _check_known("activation", activation, "activations")
    _check_known("output_activation", params["output_activation"], "activations")
    if params["kernel_initializer"] != "auto":
        _check_known("kernel_initializer", params["kernel_initializer"], "initializers")
    if params["learning_rate"] == "auto":
        given = params["optimizer_kwargs"] or {}
        if "learning_rate" in given:
            raise ValueError(
                f"learning_rate='auto' would have no effect: optimizer_kwargs={given} "
                "has a learning rate."
            )
    if params["dtype"] not in (None, "auto", "float32", "float64"):
        with_keras().check_dtype(params["dtype"])


# Names that need no look into Keras.
_KNOWN = {
    "activations": {*TRAINED_ACTIVATIONS, "softmax"},
    "initializers": {"he_uniform", "glorot_uniform"},
}


def _check_known(parameter, value, module):
    if value is None:  # Not set.
        return
    if not (isinstance(value, str) and value in _KNOWN[module]):
        with_keras().check_known(parameter, value, module)


class PartParameters(BaseEstimator):
    """``get_params`` and ``set_params`` that reach the parameters of the parts."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get parameters.

        Parameters
        ----------
        deep : bool, default=True
            Also the parameters of the parts: ``model__name`` for what the build
            function takes beyond the estimator's own parameters, and those given in
            ``model_kwargs``, ``optimizer_kwargs``, ``loss_kwargs`` and
            ``compile_kwargs``.

        Returns
        -------
        dict
        """
        params = super().get_params(deep=False)
        if not deep:
            return params
        takes, _ = signature_parameters(params["model"])
        offered = {
            f"model__{name}": default
            for name, default in takes.items()
            if name not in params
            and name not in _FROM_DATA
            and default is not Parameter.empty
        }
        for part in PARTS:
            given = params[f"{part}_kwargs"]
            if isinstance(given, Mapping):
                offered |= {f"{part}__{name}": value for name, value in given.items()}
        return {**params, **offered}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of the parts among them.

        Parameters
        ----------
        **params : dict
            Parameters of the constructor, ``model__name``, ``optimizer__name``,
            ``loss__name`` and ``compile__name``.

        Returns
        -------
        self
        """
        own = {k: v for k, v in params.items() if not _is_of_a_part(k)}
        merged = {part: self._merged(part, params) for part in PARTS}
        _check_part_names(self, own.get("model", self.model), merged["model"])
        super().set_params(**own)
        for part, kwargs in merged.items():
            if kwargs is not None:
                setattr(self, f"{part}_kwargs", kwargs)
        return self

    def _merged(self, part, params):
        """Return a new dict of a part's parameters, or None where none was given.

        The user's own dict is never changed.
        """
        prefix = f"{part}__"
        given = {
            k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix)
        }
        if not given:
            return None
        if "" in given:
            raise ValueError(f"Invalid parameter {prefix!r}: it names nothing.")
        before = params.get(f"{part}_kwargs", getattr(self, f"{part}_kwargs"))
        if before is not None and not isinstance(before, Mapping):
            raise ValueError(f"{part}_kwargs={before!r} must be a dict.")
        return {**(before or {}), **given}


def _is_of_a_part(name):
    part, separator, _ = name.partition("__")
    return bool(separator) and part in PARTS


def _check_part_names(estimator, build_fn, model_kwargs):
    takes, takes_any = signature_parameters(build_fn)
    strange = () if takes_any else (model_kwargs or {}).keys() - takes.keys()
    if strange and takes:
        raise ValueError(
            f"Invalid parameter {'model__' + sorted(strange)[0]!r} for estimator "
            f"{type(estimator).__name__}: the build function takes {sorted(takes)}."
        )


# What a build function is given of the data rather than of the user.
_FROM_DATA = ("input_shape", "n_outputs", "n_classes", "meta", "compile_kwargs")
