"""Classes: the way from a classifier's y to its network and back, and their weights."""

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
from sklearn.utils.multiclass import type_of_target

from skann._data.input import one_type
from skann._data.rows import average_of_one, relative
from skann.exceptions import ModelError


@dataclass(frozen=True)
class ClassificationTarget:
    """y of a classifier, by the labels' positions in the sorted classes.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel-indicator"}
    classes : ndarray of shape (n_classes,)
        Sorted labels; column numbers where y has a column for each.
    is_one_hot : bool
        Whether y has a column for each class, of which each row has one.
    coding : {"column", "codes", "one-hot", "indicator"}
        What the loss takes: one column of 0 and 1, class numbers, or a column for
        each class.
    link : {"none", "sigmoid", "softmax", "margin", "difference", "clip"}
        What makes probabilities of the network's outputs: they are some already;
        they are logits; they are margins, of which -1 and 1 are certain, or of which
        only differences count; or they estimate 0 and 1.
    """

    kind: str
    classes: np.ndarray
    is_one_hot: bool
    coding: str
    link: str

    # There is none to show or to hide.
    unit = dtype = None

    @classmethod
    def learn(cls, kind, classes, is_one_hot, head):
        """Choose coding and link for a network of such a head.

        Raises
        ------
        ModelError
            Where a cross-entropy would be computed of what are no probabilities.
        """
        if kind == "multilabel-indicator":
            coding = "indicator"
        elif head.n_units == 1:
            coding = "column"
        else:
            coding = "codes" if "sparse" in head.loss else "one-hot"
        link = _link(coding, head)
        return cls(kind, classes, is_one_hot, coding, link)

    def encode(self, y):
        """Map labels to what the loss takes, of shape (n, 1) or (n, n_classes)."""
        if self.coding == "indicator":
            return np.asarray(y, dtype=np.float64)
        codes = y.argmax(axis=1) if self.is_one_hot else label_codes(y, self.classes)
        if self.coding == "one-hot":
            return np.eye(len(self.classes))[codes]
        return codes.reshape(-1, 1).astype(
            np.int32 if self.coding == "codes" else np.float64
        )

    def probabilities(self, outputs):
        """Map outputs to float64 probabilities of shape (n, n_classes).

        Raises
        ------
        ValueError
            Where outputs are NaN: no probability is made up.
        """
        probabilities = self._probabilities(np.asarray(outputs, dtype=np.float64))
        if math.isnan(probabilities.sum()):
            n = np.count_nonzero(np.isnan(probabilities).any(axis=1))
            raise ValueError(
                f"The network's outputs are NaN for {n} of {len(outputs)} rows, which "
                "have no probabilities then: values in these rows, or the network's "
                "weights, are NaN or too large."
            )
        return probabilities

    def _probabilities(self, outputs):
        if self.link == "sigmoid":
            outputs = 1.0 / (1.0 + np.exp(-np.clip(outputs, -700, 700)))
        elif self.link == "softmax":
            with np.errstate(invalid="ignore"):  # Infinite ones become NaN.
                outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        elif self.link in _SCALES:
            outputs = np.clip(self._estimates(outputs), 0.0, 1.0)
        if self.kind == "multilabel-indicator":
            return outputs
        if outputs.shape[1] == 1:
            return np.column_stack([1.0 - outputs[:, 0], outputs[:, 0]])
        # Keras' softmax sums to 1 in float32 only. A row of zeros (margins) is a tie.
        total = outputs.sum(axis=1, keepdims=True)
        share = np.full_like(outputs, 1.0 / outputs.shape[1])
        return np.divide(outputs, total, out=share, where=~(total <= 0))

    def _estimates(self, outputs):
        """Bring outputs to where 0 and 1 are certain.

        Of classes side by side, the first is the largest however far outside of 0 and
        1: there, the others go by their distance from it.
        """
        shift, scale = _SCALES[self.link]
        if self.coding in ("codes", "one-hot"):
            best = outputs.max(axis=1, keepdims=True)
            is_outside = (best + shift <= 0) | (best + shift > 1 / scale)
            is_outside |= self.link == "difference"
            with np.errstate(invalid="ignore"):  # Infinite ones become NaN.
                beside = 1.0 + scale * (outputs - best)
            return np.where(is_outside, beside, scale * (outputs + shift))
        return scale * (outputs + shift)

    def decode(self, outputs):
        """Map outputs to labels of shape (n,), or (n, n_classes) 0-1 indicators."""
        probabilities = self.probabilities(outputs)
        if self.kind == "multilabel-indicator":
            return (probabilities > 0.5).astype(np.int64)
        # Of several columns the outputs themselves: probabilities are rounded.
        several = outputs.shape[1] > 1
        codes = np.argmax(outputs if several else probabilities, axis=1)
        if self.is_one_hot:
            return np.eye(len(self.classes), dtype=np.int64)[codes]
        return self.classes[codes]


# What is added to outputs, and by what the sum is multiplied, to make 0 and 1 certain.
_SCALES = {"margin": (1.0, 0.5), "difference": (0.0, 1.0), "clip": (0.0, 1.0)}

# What gives probabilities; a layer of the user's own is trusted to.
_PROBABILITIES = {"sigmoid", "softmax", "hard_sigmoid", "unknown"}


def _link(coding, head):
    loss, output_activation = head.loss, head.output_activation
    from_logits = head.from_logits
    if loss == "categorical_hinge":
        return "difference" if coding == "one-hot" else "margin"
    if "hinge" in loss:
        return "margin"
    if from_logits and output_activation in ("sigmoid", "softmax"):
        if "focal" in loss or head.is_cast:
            where = ", in another type than the loss's," if head.is_cast else ""
            raise ModelError(
                f"The loss {loss} takes logits, from_logits=True, which an output "
                f"activation of {output_activation!r}{where} does not give. Use "
                "output_activation='linear', or from_logits=False."
            )
        return "none"  # Keras takes the logits beneath, and warns.
    if from_logits:
        return "softmax" if coding in ("codes", "one-hot") else "sigmoid"
    if output_activation in _PROBABILITIES:
        return "none"
    check_probabilities(loss, output_activation)
    return "clip"


def check_probabilities(loss, output_activation):
    """Raise ModelError for a cross-entropy of what are no probabilities.

    Parameters
    ----------
    loss : str
        Keras' snake-case name.
    output_activation : str
    """
    if "entropy" in loss and output_activation not in _PROBABILITIES:
        raise ModelError(
            f"The loss {loss} takes probabilities, which an output activation of "
            f"{output_activation!r} does not give. Use output_activation='sigmoid' or "
            "'softmax', or loss_kwargs={'from_logits': True}."
        )


def is_for_classes(loss, output_activation):
    """Whether a network gives one class for each row, and not labels side by side.

    Parameters
    ----------
    loss : str
        Keras' snake-case name.
    output_activation : str, callable or None
    """
    name = getattr(output_activation, "__name__", output_activation)
    return "categorical" in loss or name == "softmax"


def are_one_hot(y):
    """Whether each row of y, of shape (n, n_columns), is of one class."""
    return y.ndim == 2 and bool(np.all(y.sum(axis=1) == 1))


def check_one_hot(y):
    """Raise ValueError for rows of y that have no class, or several."""
    if not are_one_hot(y):
        n = np.count_nonzero(y.sum(axis=1) != 1)
        raise ValueError(
            f"y has {n} rows that do not sum to 1, of no class or of several, and the "
            "network's categorical loss or softmax output is for one class for each "
            "row. For labels side by side use loss='binary_crossentropy' and "
            "output_activation='sigmoid'."
        )


def check_classification_target(y, kind, classes, is_one_hot):
    """Raise ValueError for a y that is not of the kind and classes fitted."""
    if kind != "multilabel-indicator" and not is_one_hot:
        label_codes(y, classes)
        return
    if type_of_target(y, input_name="y") != "multilabel-indicator":
        raise ValueError("y must be a 0-1 indicator matrix, as in the first fit.")
    _check_indicator(y)
    if is_one_hot:
        check_one_hot(y)


def _check_indicator(y):
    if not np.isin(y, (0, 1)).all():
        raise ValueError(
            "y with a column for each label must hold 0 and 1; it holds "
            f"{np.unique(y)}."
        )


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
        _check_indicator(y)
        columns = np.arange(y.shape[1])
        if classes is not None and not np.array_equal(
            one_type(classes, "classes"), columns
        ):
            raise ValueError(
                f"classes={classes} must be None or {columns.tolist()} for a y with a "
                "column for each class or label: they go by the columns' numbers."
            )
        return kind, columns
    if kind not in ("binary", "multiclass"):
        raise ValueError(_unknown_label_type(kind))
    known = found if classes is None else one_type(classes, "classes")
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
    if kind == "unknown":
        return (
            "Unknown label type: unknown. y holds Python's objects, and none are "
            "strings: give an array of one type, such as np.asarray(y.tolist())."
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
    try:
        codes = np.searchsorted(classes, y)
    except TypeError:
        raise ValueError(
            f"y has labels of another type, {y.dtype}, than the classes {classes}."
        ) from None
    codes = np.clip(codes, 0, len(classes) - 1)
    strange = classes[codes] != y
    if np.any(strange):
        raise ValueError(
            f"y has labels {np.unique(y[strange])} that were not seen before; the "
            f"classes are {classes}."
        )
    return codes


def class_weights(class_weight, y, classes, sample_weight=None):
    """Return the weight of each row by its label, of shape (n,), or None.

    A class may have no row: a batch need not hold all of them. The classes' weights are
    1 on the average.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        As in scikit-learn, by the user's labels. Labels not named weigh 1.
    y : ndarray of shape (n,)
    classes : ndarray of shape (n_classes,)
    sample_weight : ndarray of shape (n,), default=None
        What the rows weigh besides, by which "balanced" counts them.

    Raises
    ------
    ValueError
        For a key that is no class, and for a multilabel y.
    """
    if class_weight is None:
        return None
    if y.ndim > 1:
        raise ValueError("class_weight is not supported for multilabel targets.")
    if not isinstance(class_weight, dict):
        return _balanced(label_codes(y, classes), sample_weight)
    by_class = np.ones(len(classes))
    strange = []
    for label, weight in class_weight.items():
        if not isinstance(weight, Real) or not 0 <= weight < np.inf:  # type: ignore[operator]  # typeshed's Real cannot be compared.
            raise ValueError(
                f"class_weight must hold finite numbers from 0; got {weight!r} for the "
                f"class {label!r}."
            )
        # NumPy would compare a tuple's entries, each with a class.
        known = False if isinstance(label, tuple) else classes == label
        if np.any(known):
            by_class[known] = weight
        else:
            strange.append(label)
    if strange:
        raise ValueError(
            f"class_weight names {strange}, which are not among the classes "
            f"{list(classes)}."
        )
    if not by_class.any():
        raise ValueError(f"class_weight={class_weight} leaves no row any weight.")
    return average_of_one(relative(by_class))[label_codes(y, classes)]


def _balanced(codes, sample_weight):
    """Return weights by which each class there is has the same total."""
    totals = np.bincount(codes, weights=sample_weight)
    share = np.maximum(totals / totals.sum(), np.finfo(np.float64).tiny)
    return (1.0 / (np.count_nonzero(totals) * share))[codes]
