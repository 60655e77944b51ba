"""What a fitted estimator holds: its network, also in a pickle and after a failure."""

from contextlib import contextmanager, nullcontext

from skann._network import persistence
from skann._network.inference import Network
from skann._network.late import LateNetwork
from skann._network.packing import packed, to_clone
from skann._network.state import assign_values, values_of
from skann._training import callback_copies


class HoldsNetwork:
    """Mixin of the estimators: ``model_``, and what becomes of it."""

    @property
    def model_(self):
        """The trained model, made now where a small fit did without."""
        if "_network" not in vars(self):
            raise AttributeError(
                f"This {type(self).__name__} has no model_ before it is fitted."
            )
        return self._network.lend()

    @model_.setter
    def model_(self, model):
        self._network = Network(model)

    @model_.deleter
    def model_(self):
        del self._network

    def __sklearn_is_fitted__(self):
        return "_network" in vars(self)

    @contextmanager
    def _as_it_was_on_failure(self, goes_on):
        """Leave the estimator as it was before, if a fit fails.

        One that goes on changes the values of the model's variables. Until it is done,
        or has failed, other threads predict by those from before.
        """
        model = values = None
        if goes_on:
            if isinstance(self._network, LateNetwork):
                self._network = self._network.made
            model = self._network.model
            values = values_of(model)
        before = dict(vars(self))
        with self._network.changing() if goes_on else nullcontext():
            try:
                yield
            except BaseException:
                vars(self).clear()
                vars(self).update(before)
                if goes_on:
                    assign_values(model, values)
                raise

    def __getstate__(self):
        return packed(self._state())

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
            if persistence.outline(network.model) != state.get("_recipe_makes"):
                recipe = None
            state["model_"] = persistence.pack(network.model, recipe)
            state["_recipe"] = recipe if state["model_"]["recipe"] else None
        return state

    def __setstate__(self, state):
        state = dict(state)
        if "model_" in state:
            model = persistence.unpack(state.pop("model_"))
            # One that the user's build function has made may be known to it.
            is_lent = state["_recipe"] is not None
            state["_network"] = Network(model, is_lent)
        super().__setstate__(state)

    def __sklearn_clone__(self):
        # scikit-learn copies parameters by Keras' own ways, which lose some of them.
        stand_in = type(self).__new__(type(self))
        vars(stand_in).update(vars(self))
        for name, value in self.get_params(deep=False).items():
            own = callback_copies.to_clone(value) if name == "callbacks" else None
            vars(stand_in)[name] = to_clone(value) if own is None else own
        return super(HoldsNetwork, stand_in).__sklearn_clone__()
