"""Weights and optimizer state of a dense stack in arrays, without a Keras model."""

from dataclasses import dataclass, field, replace

import numpy as np

from skann._training.numpy.description import Description, OptimizerSettings, cast


@dataclass
class ArrayState:
    """A dense stack and its optimizer, where no Keras model has them.

    Arrays are never changed in place: other values come in other arrays. So who has
    read them may go on with what he has.

    Attributes
    ----------
    description : Description
    settings : OptimizerSettings
    rate : float
        The learning rate.
    parameters : ndarray of shape (n_parameters,)
        Kernel and bias of each layer in turn.
    slots : list of ndarray of shape (n_parameters,)
        What the optimizer keeps.
    n_steps : int
        Steps taken.
    """

    description: Description
    settings: OptimizerSettings
    rate: float
    parameters: np.ndarray
    slots: list[np.ndarray] = field(default_factory=list)
    n_steps: int = 0

    # Of the variable that Keras would have for the learning rate.
    rate_dtype = "float32"

    def __post_init__(self):
        if not self.slots:
            n_slots = 2 if self.settings.kind == "adam" else 1
            self.slots = [np.zeros_like(self.parameters) for _ in range(n_slots)]

    def with_units(self, inputs, unit):
        """Return the same of a stack that learns X and y in such units.

        Parameters
        ----------
        inputs : InputScale or None
        unit : Unit or None
        """
        description = replace(self.description, unit=unit, inputs=inputs)
        return replace(self, description=description)

    def with_rate(self, rate):
        """Return the same with another learning rate."""
        return replace(self, rate=cast(rate))

    def copy(self):
        """Return a state that training this one does not change."""
        return replace(self)

    def fill(self, parameters, slots):
        """Fill vectors of parameters, and return the number of steps taken."""
        parameters[...] = self.parameters
        for own, slot in zip(self.slots, slots, strict=True):
            slot[...] = own
        return self.n_steps

    def keep(self, parameters, slots, n_steps):
        """Take the values of vectors of parameters, and the number of steps."""
        self.parameters, self.slots, self.n_steps = parameters, slots, n_steps
