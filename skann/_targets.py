"""Targets: what y asks of the network, and the way from y to the network and back.

``TARGETS`` is the table: target type -> loss, output units, output activation.
The two classes below carry y to the numbers a loss takes (``encode``) and the
network's outputs back to what the user called y (``decode``).
"""

from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import type_of_target

from skann.exceptions import ModelError


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


@dataclass(frozen=True)
class ClassificationTarget:
    """y of a classifier, by the labels' positions in the sorted classes.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel-indicator"}
    classes : ndarray of shape (n_classes,)
        Sorted labels; for multilabel targets the column numbers.
    coding : {"column", "codes", "one-hot", "indicator"}
        What the loss takes: one column of 0 and 1, class numbers, or a column for
        each class.
    link : {"none", "sigmoid", "softmax", "margin", "clip"}
        What makes probabilities of the network's outputs: they are some already;
        they are logits; they are margins, of which -1 and 1 are certain; or they
        estimate 0 and 1.
    """

    kind: str
    classes: np.ndarray
    coding: str
    link: str

    @classmethod
    def learn(cls, kind, classes, n_units, loss, from_logits, output_activation):
        """Choose coding and link for a network of `n_units` outputs and its loss.

        Raises
        ------
        ModelError
            Where a cross-entropy would be computed of what are no probabilities.
        """
        one_unit = n_units == 1
        if kind == "multilabel-indicator":
            coding = "indicator"
        elif one_unit:
            coding = "column"
        else:
            coding = "codes" if "sparse" in loss else "one-hot"
        link = _link(coding, loss, from_logits, output_activation)
        return cls(kind, classes, coding, link)

    @property
    def n_outputs(self):
        """Number of columns of a multilabel y; 1 for all else."""
        return len(self.classes) if self.kind == "multilabel-indicator" else 1

    def encode(self, y):
        """Map labels to what the loss takes, of shape (n, 1) or (n, n_classes)."""
        if self.coding == "indicator":
            return np.asarray(y, dtype=np.float64)
        codes = label_codes(y, self.classes)
        if self.coding == "one-hot":
            return np.eye(len(self.classes))[codes]
        return codes.reshape(-1, 1).astype(
            np.int32 if self.coding == "codes" else np.float64
        )

    def probabilities(self, outputs):
        """Map outputs to float64 probabilities of shape (n, n_classes)."""
        outputs = np.asarray(outputs, dtype=np.float64)
        if self.link == "sigmoid":
            outputs = 1.0 / (1.0 + np.exp(-np.clip(outputs, -700, 700)))
        elif self.link == "softmax":
            outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        elif self.link == "margin":
            outputs = np.clip((outputs + 1.0) / 2.0, 0.0, 1.0)
        elif self.link == "clip":
            outputs = np.clip(outputs, 0.0, 1.0)
        if self.kind == "multilabel-indicator":
            return outputs
        if outputs.shape[1] == 1:
            return np.column_stack([1.0 - outputs[:, 0], outputs[:, 0]])
        # Keras' softmax sums to 1 in float32 only. A row of zeros (margins) is a tie.
        total = outputs.sum(axis=1, keepdims=True)
        share = np.full_like(outputs, 1.0 / outputs.shape[1])
        return np.divide(outputs, total, out=share, where=total > 0)

    def decode(self, outputs):
        """Map outputs to labels of shape (n,), or (n, n_classes) 0-1 indicators."""
        probabilities = self.probabilities(outputs)
        if self.kind == "multilabel-indicator":
            return (probabilities > 0.5).astype(np.int64)
        return self.classes[np.argmax(probabilities, axis=1)]


# What gives probabilities; a layer of the user's own is trusted to.
_PROBABILITIES = {"sigmoid", "softmax", "hard_sigmoid", "unknown"}


def _link(coding, loss, from_logits, output_activation):
    if "hinge" in loss:
        return "margin"
    if from_logits:
        return "softmax" if coding in ("codes", "one-hot") else "sigmoid"
    if output_activation in _PROBABILITIES:
        return "none"
    if "entropy" in loss:
        raise ModelError(
            f"The loss {loss} takes probabilities, which an output activation of "
            f"{output_activation!r} does not give. Use output_activation='sigmoid' or "
            "'softmax', or loss_kwargs={'from_logits': True}."
        )
    return "clip"


def check_classification_target(y, kind, classes):
    """Raise ValueError for a y that is not of the kind and classes fitted."""
    if kind != "multilabel-indicator":
        label_codes(y, classes)
    elif type_of_target(y, input_name="y") != kind:
        raise ValueError("y must be a 0-1 indicator matrix, as in the first fit.")


def classification_kind(y, classes=None):
    """Return a classifier's target type and classes, or raise what is wrong with y.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_labels)
    classes : array-like of shape (n_classes,), default=None
        Every label there can be; None takes those in y.

    Returns
    -------
    kind : str
        A key of ``TARGETS``.
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        For targets that are no classes, for several multiclass outputs, for a
        single class, and for labels in y that are not in `classes`.
    """
    try:
        kind = type_of_target(y, input_name="y")
        found = np.unique(y)
    except TypeError as error:
        raise ValueError(f"y must hold labels of one type: {error}") from None
    if kind == "multilabel-indicator":
        return kind, np.arange(y.shape[1])
    if kind not in ("binary", "multiclass"):
        raise ValueError(_unknown_label_type(kind))
    known = found if classes is None else np.unique(np.asarray(classes))
    strange = np.setdiff1d(found, known)
    if len(strange):
        raise ValueError(f"y has labels {strange} that are not in classes={known}.")
    if len(known) < 2:
        raise ValueError(
            "A classifier needs at least two classes; y has one class only: "
            f"{known[0]!r}."
        )
    return ("binary" if len(known) == 2 else "multiclass"), known


def _unknown_label_type(kind):
    if kind == "multiclass-multioutput":
        return (
            "Unknown label type: multiclass-multioutput, several columns of more than "
            "two classes each. Fit one classifier for each column with "
            "sklearn.multioutput.MultiOutputClassifier, or give a 0-1 indicator matrix."
        )
    return (
        f"Unknown label type: {kind}. A classifier takes classes: one label for each "
        "row, or a 0-1 indicator matrix. For a continuous target use MLPKerasRegressor."
    )


def label_codes(y, classes):
    """Return the position of each label of y in the sorted classes.

    Raises
    ------
    ValueError
        For a label which is not in `classes`.
    """
    y = np.asarray(y)
    codes = np.clip(np.searchsorted(classes, y), 0, len(classes) - 1)
    strange = classes[codes] != y
    if np.any(strange):
        raise ValueError(
            f"y has labels {np.unique(y[strange])} that were not seen before; the "
            f"classes are {classes}."
        )
    return codes


def class_weights(class_weight, y, classes):
    """Return the weight of each row by its label, of shape (n,), or None.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        As in scikit-learn, by the user's labels. Labels not named weigh 1.
    y : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,)

    Raises
    ------
    ValueError
        For a key that is no class, and for a multilabel y.
    """
    if class_weight is None:
        return None
    if y.ndim > 1:
        raise ValueError("class_weight is not supported for multilabel targets.")
    if isinstance(class_weight, dict):
        for label, weight in class_weight.items():
            if not isinstance(weight, Real) or not 0 <= weight < np.inf:
                raise ValueError(
                    f"class_weight must hold finite numbers from 0; got {weight!r} for "
                    f"the class {label!r}."
                )
        strange = [label for label in class_weight if label not in classes]
        if strange:
            raise ValueError(
                f"class_weight names {strange}, which are not among the classes "
                f"{list(classes)}."
            )
    weights = compute_sample_weight(class_weight, y)
    if not weights.any():
        raise ValueError(f"class_weight={class_weight} leaves no row any weight.")
    return weights
