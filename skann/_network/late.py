"""The network of a small fit, whose Keras model is made when someone asks for it.

Of a default network trained for some hundred steps, half of the time would go into
objects of Keras' and the start of tensorflow. What it computes is known without them,
and so it is trained and asked for predictions in arrays. ``model_`` makes the model.
"""

import copy
import functools
import threading
from numbers import Real

import keras
import numpy as np

from skann._data.feed import Feed
from skann._data.rows import check_fits, largest_of
from skann._data.targets import TARGETS
from skann._network.arguments import filled_in, is_own
from skann._network.build import Traits, build_model
from skann._network.compile import canonical_name, loss_of
from skann._network.inference import Network, described_stack
from skann._runtime.scopes import outside_of_scopes
from skann._training.graph.program import (
    compiling_pays,
    is_limited_by_keras,
    prepare,
)
from skann._training.loop import train_small
from skann._training.numpy.description import ACTIVATIONS, DenseLayer, Description, cast
from skann._training.numpy.network import SmallNetwork
from skann._training.numpy.trainer import KerasState
from skann.models import initializer_name, kernel_seeds

# Parameters that are to be None, 0 or empty.
_UNUSED = (
    *("model_kwargs", "output_activation", "dropout", "normalization"),
    *("loss", "loss_kwargs", "metrics", "optimizer_kwargs", "compile_kwargs"),
)


def late_network(params, defaults, problem, seed, *, n_steps):
    """Return the network that ``build_model`` would return of the same arguments.

    Returns
    -------
    LateNetwork or None
        None where the parameters ask for more than is known here, and where so many
        steps are worth compiling.
    """
    params = filled_in(params, defaults)
    if not _is_known(params, problem):
        return None
    sizes = params["hidden_layer_sizes"]
    if sizes is None:
        sizes = [params["n_neurons"]] * params["n_hidden"]
    target = TARGETS[problem.kind]
    units = [*problem.input_shape, *map(int, sizes), target.units or problem.n_outputs]
    activations = [params["activation"]] * len(sizes)
    activations.append(target.output_activation or "linear")
    penalty = {name: cast(params[name]) for name in ("l1", "l2")}
    layers = tuple(
        DenseLayer(*shape, activation, **penalty)
        for *shape, activation in zip(units, units[1:], activations, strict=False)
    )
    loss, _ = loss_of(params, target.loss)
    description = Description(layers, loss, params["dtype"])
    if compiling_pays(n_steps, description.n_parameters):
        return None
    seeds = kernel_seeds(seed)
    small = SmallNetwork(
        description,
        [initializer_name(activation) for activation in activations],
        [next(seeds) for _ in layers],
        float(params["learning_rate"]),
    )
    # What the user's parameters hold may have changed before the model is made.
    own = {name: copy.copy(params[name]) for name in _UNUSED}
    if params["hidden_layer_sizes"] is not None:
        own["hidden_layer_sizes"] = tuple(map(int, sizes))
    return LateNetwork(({**params, **own}, defaults, problem, seed), small)


def _is_known(params, problem):
    rate, optimizer = params["learning_rate"], params["optimizer"]
    return (
        is_own(params["model"])
        and not is_limited_by_keras()
        and not any(_is_given(params[name]) for name in _UNUSED)
        and isinstance(params["activation"], str)
        and params["activation"] in ACTIVATIONS
        and params["kernel_initializer"] == "auto"
        and params["dtype"] in ("float32", "float64")
        and isinstance(optimizer, str)
        and optimizer.lower() == "adam"
        and isinstance(rate, Real)
        and rate < 1e38
        and len(problem.input_shape) == 1
        and keras.config.floatx() == keras.config.dtype_policy().name == "float32"
    )


def _is_given(value):
    # An empty text is an error elsewhere.
    return isinstance(value, str) or bool(value)


class LateNetwork:
    """A network in arrays that becomes a Keras model when one is asked for.

    Parameters
    ----------
    recipe : tuple
        Arguments of ``build_model``.
    small : SmallNetwork
        What they describe.
    """

    def __init__(self, recipe, small):
        self._recipe = recipe
        self._small = small
        self._choosing = threading.Lock()
        self._made = self._one_row = None
        self._kept = None, None

    @property
    def input_dtype(self):
        """Floating type in which targets and weights are given to the network."""
        return self._small.description.dtype

    rows_dtype = input_dtype

    @functools.cached_property
    def largest(self):
        """The largest number in X that needs no look at its type."""
        return largest_of(self.rows_dtype)

    def check(self, X):
        """Raise ValueError where X has values that the network cannot be fed."""
        check_fits(X, self.rows_dtype)

    @property
    def traits(self):
        """What the target's encoding depends on."""
        description = self._small.description
        loss, last = canonical_name(description.loss), description.layers[-1]
        kind = description.loss
        return Traits(loss, False, last.n_outputs, last.activation, kind)

    def take_unit(self, unit):
        """Give predictions in y's unit (Unit)."""
        self._recipe = (*self._recipe, unit)
        self._small.take_unit(unit)

    def train(self, feed, validation, **how):
        """Train in arrays; see ``train_small``."""
        x, y, *weight = feed.take(np.zeros(1, dtype=np.intp))
        self._one_row = Feed(x, y, *weight, dtype=feed.dtype, y_dtype=y.dtype)
        return train_small(self._small, feed, validation, **how)

    @property
    def made(self):
        """The network of the Keras model, as it would be had it been there first."""
        if not self._small.is_trained:
            raise AttributeError("There is no model_ while a small fit trains.")
        if self._made is None:
            # No lock is held meanwhile: a build function under Keras' may ask for this
            # model. Of several threads that make it, all get the first one's.
            network = Network(self._make(), is_lent=False)
            with self._choosing:
                self._made = self._made or network
        return self._made

    @property
    def model(self):
        """The Keras model."""
        return self.made.model

    def lend(self):
        """Return the Keras model to someone who may change it."""
        return self.made.lend()

    def _make(self):
        with outside_of_scopes():
            model = build_model(*self._recipe)
            prepare(model, self._one_row)
            self._small.hand_over(KerasState(model))
        model.stop_training = self._small.stop_training
        model.history = self._small.history
        model.history.set_model(model)
        return model

    def outputs(self, X):
        """Return the outputs for every row, of shape (n, n_outputs), float64.

        Parameters
        ----------
        X : ndarray, memmap or CSR matrix of shape (n, n_features)
        """
        if self._made is not None:  # Its weights may be changed.
            return self._made.outputs(X)
        # Another thread may train on meanwhile: what is kept belongs to these.
        parameters = self._small.parameters
        of, stack = self._kept
        if of is not parameters:
            stack = described_stack(self._small.description, parameters)
            self._kept = parameters, stack
        return stack.outputs(X)
