"""What a pickle of a fitted estimator holds in the place of its Keras model."""

import pickle

import keras

from skann._keras import round_trip, serialisation
from skann._keras.input_layers import input_scale_of
from skann._keras.packing import packed
from skann._keras.scopes import outside_of_scopes
from skann._keras.state import positions_of_optimizer, state_of
from skann._keras.unit_layer import unit_of
from skann._keras.variables import input_dtype, rows_dtype
from skann._network.build import build_model
from skann._network.keras_network import KerasNetwork
from skann._network.layer_descriptions import dense_stack
from skann._network.network import Network
from skann._network.sources import Frozen, Recipe
from skann._training.graph.program import prepare
from skann._training.numpy.recognised import give_arrays


def pack(model, recipe, makes, row_shape, source=None):
    """Return a model as plain data, arrays and the user's own classes and functions.

    Parameters
    ----------
    model : keras.Model
    recipe : tuple or None
        Arguments of ``build_model`` that build such a model again. They are taken where
        its configuration cannot be shown to do so.
    makes : tuple or None
        What `outline` said of the model that the recipe made.
    row_shape : tuple of int
        Shape of one row of X.
    source : Recipe, default=None
        How the model was built, if nobody can have changed it since.
    """
    if recipe is not None and outline(model) != makes:
        recipe = None
    if recipe is None or serialisation.is_serialisable(model):
        plain = _frozen_stack(model, row_shape, source)
        if plain is not None:
            return {"arrays": None, "source": plain}
        frozen = round_trip.frozen(model, is_only_way=recipe is None)
        if frozen is not None:
            return {"recipe": None, **frozen}
    # Another model may have been put into the place of the one that it built. What the
    # build function's own network holds is not added to it.
    units = unit_of(model), input_scale_of(model)
    added = zip(units, recipe[4:], strict=False)
    recipe = (*recipe[:4], *(None if was is None else unit for unit, was in added))
    optimized = positions_of_optimizer(model)
    return {"recipe": recipe, "state": state_of(model), "optimized": optimized}


def outline(model):
    """Return what tells whether a state fits a model: shapes, and its optimizer's kind.

    Callbacks may have compiled a model anew, or another one is in its place, since its
    recipe was noted: then that makes none which takes its state.
    """
    optimizer = getattr(model, "optimizer", None)  # None before it is compiled
    settings = [bool(getattr(optimizer, name, None)) for name in _ADD_VARIABLES]
    shapes = [tuple(variable.shape) for variable in model.variables]
    return shapes, type(optimizer).__name__, settings


# With these an optimizer has more variables for each of a model's.
_ADD_VARIABLES = ("amsgrad", "centered", "momentum", "use_ema")


def _frozen_stack(model, row_shape, source):
    """Return a model of plain layers as one that predicts without Keras, or None."""
    layers = _layers_by_position(model)
    if layers is None:
        return None
    if source is None:
        if not round_trip.need_not_be_tried(model):
            return None
        made_of = serialisation.serialise(model)
        if made_of[1]:  # The user's own classes and functions.
            return None
        source = pickle.dumps(packed(made_of))
    rest = {"state": state_of(model), "optimized": positions_of_optimizer(model)}
    values = rest["state"].pop("values")
    dtypes = input_dtype(model), rows_dtype(model)
    return Frozen(layers, values, row_shape, *dtypes, source, rest)


def _layers_by_position(model):
    """Return the layers of a plain stack, arrays by their position in its variables."""
    positions = {id(variable): i for i, variable in enumerate(model.variables)}
    return dense_stack(model, lambda variable: positions[id(variable)])


def unpacked(plain):
    """Return the network that `pack` was given the model of."""
    if plain["recipe"] is None:
        model = serialisation.thaw(plain)
    else:
        model = serialisation.refill(build_model(*plain["recipe"]), plain)
    # One that the user's build function has made may be known to it.
    is_lent = plain["recipe"] is not None
    return Network(keras=KerasNetwork(model, is_lent))


def thawed(made_of, rest, values, arrays):
    """Return the model of ``Frozen``, with the values of arrays if there are any."""
    frozen = {**rest, "state": {**rest["state"], "values": values}}
    with outside_of_scopes():
        if isinstance(made_of, Recipe):
            model = made_of.build()
        else:
            model = serialisation.deserialise(*made_of)
        serialisation.refill(model, frozen)
        if arrays is not None:
            give_arrays(model, arrays)
    return model


def model_of_arrays(recipe, arrays):
    """Return the model that would have been there had it been made first.

    Parameters
    ----------
    recipe : Recipe
    arrays : ArrayState
    """
    with outside_of_scopes():
        model = recipe.build()
        prepare(model, recipe.one_row())
        give_arrays(model, arrays)
    return model


def take_history(model, reported):
    """Give a model what Keras' loop leaves with it: of a fit (Trained)."""
    history = keras.callbacks.History()
    history.set_model(model)
    history.history = dict(reported.history)
    history.epoch = list(range(len(reported.history["loss"])))
    model.history = history
