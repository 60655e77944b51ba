"""What a fitted estimator holds: its network, also in a pickle and after a failure."""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from sklearn.base import BaseEstimator

from skann._network.network import Network
from skann._runtime.start import with_keras

if TYPE_CHECKING:
    from skann._types import Model


class HoldsNetwork(BaseEstimator):
    """Mixin of the estimators: ``model_``, and what becomes of it."""

    @property
    def model_(self) -> Model:
        """The trained model, made now where a fit did without."""
        if "_network" not in vars(self):
            raise AttributeError(
                f"This {type(self).__name__} has no model_ before it is fitted."
            )
        return self._network.lend()

    @model_.setter
    def model_(self, model: Model) -> None:
        self._network = Network.of_model(model)

    @model_.deleter
    def model_(self) -> None:
        del self._network

    def __sklearn_is_fitted__(self):
        return "_network" in vars(self)

    @contextmanager
    def _as_it_was_on_failure(self, goes_on):
        """Leave the estimator as it was before, if a fit fails."""
        before = dict(vars(self))
        with self._network.as_it_was_on_failure() if goes_on else nullcontext():
            try:
                yield
            except BaseException:
                self.__dict__.clear()
                self.__dict__.update(before)
                raise

    def __getstate__(self):
        state = self._state()
        return with_keras().packed(state) if _may_hold_keras() else state

    def __copy__(self):
        # The parameters are the original's, the network a copy.
        copy = type(self).__new__(type(self))
        copy.__setstate__(self._state())
        return copy

    def _state(self):
        """Return the attributes, the network as plain data."""
        state = dict(super().__getstate__())
        state.pop("callbacks_", None)  # They hold the model, files and what not.
        network = state.pop("_network", None)
        if network is not None:
            recipe = state.setdefault("_recipe", None)  # A user's model, unfitted.
            makes, row_shape = state.get("_recipe_makes"), state.get("_row_shape")
            state["model_"] = network.packed(recipe, makes, row_shape)
            packed_by_recipe = state["model_"].get("recipe") is not None
            state["_recipe"] = recipe if packed_by_recipe else None
        return state

    def __setstate__(self, state):
        state = dict(state)
        if "model_" in state:
            state["_network"] = Network.unpacked(state.pop("model_"))
        super().__setstate__(state)

    def __sklearn_clone__(self):
        # scikit-learn copies parameters by Keras' own ways, which lose some of them.
        if not _may_hold_keras():
            return super().__sklearn_clone__()
        stand_in = type(self).__new__(type(self))
        stand_in.__dict__.update(self.__dict__)
        parts = with_keras()
        for name, value in self.get_params(deep=False).items():
            is_callbacks = name == "callbacks"
            own = parts.callback_copies.to_clone(value) if is_callbacks else None
            stand_in.__dict__[name] = parts.to_clone(value) if own is None else own
        return super(HoldsNetwork, stand_in).__sklearn_clone__()


def _may_hold_keras():
    """Whether there can be objects of Keras' among an estimator's attributes."""
    return "keras" in sys.modules
