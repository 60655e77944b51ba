"""What data asks of a network, and what a target asks of a network that is there."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Problem:
    """What the data asks of a network.

    Attributes
    ----------
    input_shape : tuple of int
        Shape of one row of X.
    kind : str
        A key of ``TARGETS``.
    n_columns : int
        Columns of y.
    classes : ndarray or None
        Labels of a classifier.
    """

    input_shape: tuple[int, ...]
    kind: str
    n_columns: int = 1
    classes: np.ndarray | None = None

    @property
    def n_outputs(self):
        """One unit for each class or column of y."""
        if self.kind != "multiclass" or self.classes is None:
            return self.n_columns
        return len(self.classes)

    @property
    def allowed_outputs(self):
        """Output units that a network of the user's may have."""
        return (1, 2) if self.kind == "binary" else (self.n_outputs,)


@dataclass(frozen=True)
class Head:
    """Outputs and loss of a network, on which the encoding of a target depends.

    Attributes
    ----------
    loss : str
        Keras' snake-case name.
    from_logits : bool
        Whether the loss takes logits.
    n_units : int
        Output units.
    output_activation : str
        Keras' name, or "unknown".
    compiled_loss : object
        The loss itself, as the model was compiled with it.
    is_cast : bool
        Whether the loss computes in another type than the output layer: then Keras
        does not see what comes before that one's activation.
    """

    loss: str
    from_logits: bool
    n_units: int
    output_activation: str
    compiled_loss: object
    is_cast: bool = False
