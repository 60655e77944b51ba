"""Targets: what y asks of the network, and the way of a regressor's y there and back.

``TARGETS`` is the table: target type -> loss, output units, output activation.
``RegressionTarget`` carries y to the numbers a loss takes (``encode``) and the
network's outputs back to what the user called y (``decode``); ``ClassificationTarget``
in ``_classes.py`` does the same.
"""

from dataclasses import dataclass

import numpy as np


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


def asked_of_network(kind, loss, output_activation):
    """Return what skann's own network is to have: (units or None, output activation).

    Parameters
    ----------
    kind : str
        A key of ``TARGETS``.
    loss : str
        Keras' snake-case name.
    output_activation : str, callable or None
        As the user gave it.
    """
    target = TARGETS[kind]
    units, activation = target.units, target.output_activation
    if kind == "binary" and ("categorical" in loss or output_activation == "softmax"):
        units, activation = 2, "softmax"
    elif "hinge" in loss:
        activation = "linear"  # A margin: its sign is the class.
    return units, output_activation or activation


# Losses of the distance between y and its prediction: shifting y shifts the answer,
# scaling y scales it. For the others y is a count, a ratio or a probability.
_DISTANCES = {
    "mean_squared_error",
    "mean_absolute_error",
    "huber",
    "log_cosh",
}
# Outputs which a scale leaves meaningful though a shift does not: f(x) >= 0.
_HALF_LINES = {"relu", "softplus", "exponential"}
_LINES = {None, "linear"}


@dataclass(frozen=True)
class RegressionTarget:
    """y of a regressor, shifted and scaled for training.

    Attributes
    ----------
    ndim : {1, 2}
        Dimensions of the y that was fitted; predictions have the same.
    shift, scale : ndarray of shape (n_outputs,), dtype=float64
        The network is trained on ``(y - shift) / scale``.
    """

    ndim: int
    shift: np.ndarray
    scale: np.ndarray

    @classmethod
    def learn(cls, y, sample_weight, normalize_y, loss, output_activation):
        """Fix shift and scale from y of shape (n,) or (n, n_outputs)."""
        columns = _columns(y)
        shift, scale = np.zeros(columns.shape[1]), np.ones(columns.shape[1])
        by_shift, by_scale = _normalization(normalize_y, loss, output_activation)
        if by_scale:
            mean, scale = _moments(columns, sample_weight)
            shift = mean if by_shift else shift
        return cls(y.ndim, shift, scale)

    @property
    def n_outputs(self):
        """Number of columns of y."""
        return len(self.shift)

    def encode(self, y):
        """Map y of shape (n,) or (n, n_outputs) to float64 of shape (n, n_outputs)."""
        return (_columns(y) - self.shift) / self.scale

    def decode(self, outputs):
        """Map outputs of shape (n, n_outputs) to predictions in y's shape."""
        y = outputs * self.scale + self.shift
        return y.ravel() if self.ndim == 1 else y


def _moments(columns, sample_weight):
    """Return mean and standard deviation of each column; 1 for that of a constant."""
    # In units of the largest value, so that no square overflows.
    largest = np.abs(columns).max(axis=0)
    largest[largest == 0] = 1.0
    relative = columns / largest
    mean = np.average(relative, axis=0, weights=sample_weight)
    variance = np.average((relative - mean) ** 2, axis=0, weights=sample_weight)
    deviation = np.sqrt(variance) * largest
    constant = np.sqrt(variance) <= 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean * largest, np.where(constant, 1.0, deviation)


def _columns(y):
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def _normalization(normalize_y, loss, output_activation):
    """Return whether y may be shifted, and whether it may be scaled."""
    distance = loss in _DISTANCES
    can_scale = distance and output_activation in _LINES | _HALF_LINES
    can_shift = distance and output_activation in _LINES
    if normalize_y is True and not can_scale:
        raise ValueError(
            f"normalize_y=True cannot be used with loss={loss!r} and an output "
            f"activation of {output_activation!r}: such outputs are bound to y's own "
            "unit. Use normalize_y='auto' or normalize_y=False."
        )
    return bool(normalize_y) and can_shift, bool(normalize_y) and can_scale
