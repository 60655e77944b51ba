"""What a network's Keras model is made of, where there is none yet."""

import pickle
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np

from skann._data.feed import Feed
from skann._data.input_scale import InputScale
from skann._data.unit import Unit
from skann._network.arguments import COMPILE_PARAMETERS, NETWORK_PARAMETERS
from skann._network.problem import Problem
from skann._network.same import snapshot
from skann._network.stack import Stack
from skann._runtime.start import with_keras


@dataclass(frozen=True)
class Recipe:
    """The arguments of ``build_model`` for a network of skann's own.

    Attributes
    ----------
    params, defaults : dict
        Plain values, which do not change with the user's lists and dicts.
    problem : Problem
    seed : int
    unit : Unit or None
    inputs : InputScale or None
    example : tuple or None
        Shape and type of one row of X and of its targets, and whether rows have
        weights: what the variables of loss and metrics are made by.
    """

    params: dict[str, Any]
    defaults: dict[str, Any]
    problem: Problem
    seed: int
    unit: Unit | None = None
    inputs: InputScale | None = None
    example: tuple[Any, ...] | None = None

    def with_units(self, inputs, unit):
        """Return the recipe of a network that brings X and outputs to such units."""
        return replace(self, inputs=inputs, unit=unit)

    def of_rows(self, feed):
        """Return the recipe that knows the rows on which the network is trained."""
        if self.example is not None:
            return self
        x, y, *weight = feed.take(np.zeros(1, dtype=np.intp))
        return replace(
            self, example=(x.shape, x.dtype, y.shape, y.dtype, feed.dtype, bool(weight))
        )

    @property
    def recipe(self):
        """The recipe, whatever the source is."""
        return self

    def build(self):
        """Return the Keras model, compiled, with initial weights."""
        problem = self.problem, self.seed, self.unit, self.inputs
        params = dict(self.params)
        if params["learning_rate"] == "auto":
            params["learning_rate"] = None
        return with_keras().build_model(params, self.defaults, *problem)

    def one_row(self):
        """Return a feed of one row of zeros."""
        x_shape, x_dtype, y_shape, y_dtype, dtype, weighted = self.example  # type: ignore[misc]  # It knows its rows by now.
        weight = np.ones(1) if weighted else None
        x, y = np.zeros(x_shape, x_dtype), np.zeros(y_shape, y_dtype)
        return Feed(x, y, weight, dtype=dtype, y_dtype=y_dtype)

    def make(self, arrays):
        """Return the Keras model with the values of arrays (ArrayState)."""
        return with_keras().model_of_arrays(self, arrays)


def recipe_of(params, defaults, problem, seed):
    """Return the recipe of a network of skann's own, or None.

    None where a parameter is more than a plain value: it may change until the network
    is built again.
    """
    own = {name: snapshot(params[name]) for name in _OF_THE_NETWORK}
    own["model"] = None
    # It says only that the seed is the user's.
    own["random_state"] = None if params["random_state"] is None else 0
    if not all(map(_is_plain, own.values())):
        return None
    defaults = {name: defaults[name] for name in (*_OF_THE_NETWORK, "random_state")}
    return Recipe(own, defaults, problem, seed)


_OF_THE_NETWORK = ("model_kwargs", *NETWORK_PARAMETERS, *COMPILE_PARAMETERS)


def _is_plain(value):
    if type(value) in (list, tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(map(_is_plain, value.values()))
    if type(value) is np.ndarray:
        return value.dtype.kind in "biuf"
    return value is None or isinstance(value, (str, bool, Real, np.generic))


@dataclass(frozen=True)
class Frozen:
    """A Keras model of plain layers that a pickle brought.

    It predicts without Keras, and is made when somebody asks for it.

    Attributes
    ----------
    layers : list of (str, dict)
        As ``functions_of`` takes them, but for arrays, which are positions (int) in
        `values`.
    values : list of ndarray
        Of all variables.
    row_shape : tuple of int
    input_dtype, rows_dtype : str
    content : bytes or Recipe
        A pickle of what else makes the model, which holds objects of Keras'; or how it
        was built.
    rest : dict
        What else decides how it goes on.
    """

    layers: list[tuple[str, dict[str, Any]]]
    values: list[np.ndarray]
    row_shape: tuple[int, ...]
    input_dtype: str
    rows_dtype: str
    content: bytes | Recipe
    rest: dict[str, Any]

    def make(self, arrays=None):
        """Return the Keras model, with the values of arrays (ArrayState) if given."""
        made_of = self.content
        if isinstance(made_of, bytes):
            made_of = pickle.loads(made_of)
        return with_keras().thawed(made_of, self.rest, self.values, arrays)

    def of_rows(self, feed):
        """Return itself: what was frozen knows its rows."""
        return self

    @property
    def recipe(self):
        """How the model was built, or None where only its configuration is known."""
        return None if isinstance(self.content, bytes) else self.content

    def outputs(self, X):
        """Return the outputs for every row, of shape (n, n_outputs), float64."""
        return self._stack.outputs(X)

    @property
    def _stack(self):
        kept = vars(self).get("_kept")
        if kept is None:
            layers = [(kind, self._filled(numbers)) for kind, numbers in self.layers]
            kept = vars(self)["_kept"] = Stack(layers, self.row_shape)
        return kept

    def _filled(self, numbers):
        return {
            name: self.values[n].astype(np.float64)
            if name in _ARRAYS and n is not None
            else n
            for name, n in numbers.items()
        }

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_kept"}


# The numbers of a layer that are values of variables.
_ARRAYS = ("kernel", "bias", "mean", "variance", "gamma", "beta")
