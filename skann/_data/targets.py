"""Targets: what y asks of the network, and the way of a regressor's y there and back.

``TARGETS`` is the table: target type -> loss, output units, output activation.
``RegressionTarget`` carries y to the numbers a loss takes (``encode``) and the
network's outputs back to what the user called y (``decode``); ``ClassificationTarget``
in ``_data/classes.py`` does the same.
"""

from dataclasses import dataclass

import numpy as np

from skann._data.unit import Unit


@dataclass(frozen=True)
class TargetKind:
    """What one type of target asks of the network.

    `units` is a number, or None for one unit for each class or column of y.
    """

    loss: str
    units: int | None
    output_activation: str | None


TARGETS = {
    "regression": TargetKind("mean_squared_error", None, None),
    "binary": TargetKind("binary_crossentropy", 1, "sigmoid"),
    "multiclass": TargetKind("sparse_categorical_crossentropy", None, "softmax"),
    "multilabel-indicator": TargetKind("binary_crossentropy", None, "sigmoid"),
}

# Losses of a regressor's that take no other outputs than these: a logarithm is taken of
# what is predicted, or of its distance from 1 as well.
_FOR_LOSSES = {
    "poisson": "exponential",
    "binary_crossentropy": "sigmoid",
    "binary_focal_crossentropy": "sigmoid",
    "categorical_crossentropy": "softmax",
    "categorical_focal_crossentropy": "softmax",
}


def asked_of_network(kind, loss, from_logits, output_activation):
    """Return what skann's own network is to have: (units or None, output activation).

    Parameters
    ----------
    kind : str
        A key of ``TARGETS``.
    loss : str
        Keras' snake-case name.
    from_logits : bool
        Whether the loss takes logits.
    output_activation : str, callable or None
        As the user gave it.
    """
    target = TARGETS[kind]
    units, activation = target.units, target.output_activation
    if kind == "binary" and ("categorical" in loss or output_activation == "softmax"):
        units, activation = 2, "softmax"
    if kind == "regression":
        activation = _FOR_LOSSES.get(loss, activation)
    if from_logits or "hinge" in loss:
        activation = "linear"  # A logit, or a margin: its sign is the class.
    return units, output_activation or activation


@dataclass(frozen=True)
class RegressionTarget:
    """y of a regressor.

    Attributes
    ----------
    ndim : {1, 2}
        Dimensions of the y that was fitted; predictions have the same.
    unit : Unit or None
        What the network's last layer brings its outputs to.
    """

    ndim: int
    unit: Unit | None

    @property
    def dtype(self):
        """Type in which the network is given y, or None for its own.

        Beside a large mean, float32 would round y's deviations from it.
        """
        return None if self.unit is None else "float64"

    def encode(self, y):
        """Map y of shape (n,) or (n, n_outputs) to float64 of shape (n, n_outputs)."""
        return columns_of(y)

    def decode(self, outputs):
        """Map outputs of shape (n, n_units) to predictions in y's shape.

        Several for a single y are predictions as they are.
        """
        single = self.ndim == 1 and outputs.shape[1] == 1
        return outputs.ravel() if single else outputs


def columns_of(y):
    """Return y of shape (n,) or (n, n_outputs) as float64 columns."""
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)
