"""What a pickle of a fitted estimator holds in the place of its Keras model."""

from skann._network import round_trip, serialisation
from skann._network.build import build_model
from skann._network.state import positions_of_optimizer, state_of
from skann._network.unit import unit_of


def pack(model, recipe):
    """Return a model as plain data, arrays and the user's own classes and functions.

    Parameters
    ----------
    model : keras.Model
    recipe : tuple or None
        Arguments of ``build_model`` that build such a model again. They are taken where
        its configuration cannot be shown to do so.
    """
    if recipe is None or serialisation.is_serialisable(model):
        frozen = round_trip.frozen(model, is_only_way=recipe is None)
        if frozen is not None:
            return {"recipe": None, **frozen}
    # Another model may have been put into the place of the one that it built.
    recipe = (*recipe[:4], unit_of(model))
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


def unpack(packed):
    """Return the model that `pack` was given."""
    if packed["recipe"] is None:
        return serialisation.thaw(packed)
    return serialisation.refill(build_model(*packed["recipe"]), packed)
