"""The validation set: rows held out of the training set, or the user's own."""

import numpy as np
from sklearn.model_selection import train_test_split


def hold_out(n_rows, fraction, labels, seed):
    """Split row numbers into training and validation rows, shuffled.

    Parameters
    ----------
    n_rows : int
    fraction : float in (0, 1)
        Share of the rows held out.
    labels : ndarray of shape (n_rows,) or None
        Classes in whose proportions both parts are drawn.
    seed : int

    Returns
    -------
    train, validation : ndarray of int, sorted

    Raises
    ------
    ValueError
        Where a part would be empty, or a class is too rare to be in both.
    """
    n_validation = int(np.ceil(fraction * n_rows))
    if n_validation >= n_rows:
        raise ValueError(
            f"validation_fraction={fraction} of {n_rows} rows leaves none to train on. "
            f"{_REMEDIES}"
        )
    if labels is not None:
        _check_not_rare(labels, n_validation, fraction)
    train, validation = train_test_split(
        np.arange(n_rows), test_size=n_validation, stratify=labels, random_state=seed
    )
    return np.sort(train), np.sort(validation)


_REMEDIES = (
    "Set early_stopping=False, give a validation set of your own (X_val, y_val), or "
    "change validation_fraction."
)


def _check_not_rare(labels, n_validation, fraction):
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        rarest = classes[counts.argmin()]
        raise ValueError(
            f"The least populated class, {str(rarest)!r}, has 1 row: too few for a "
            f"stratified validation set, which needs 2. {_REMEDIES}"
        )
    parts = min(n_validation, len(labels) - n_validation)
    if parts < len(classes):
        raise ValueError(
            f"validation_fraction={fraction} of {len(labels)} rows leaves a part of "
            f"{parts} rows for {len(classes)} classes: too few to be stratified. "
            f"{_REMEDIES}"
        )


def own_validation_set(X_val, y_val, sample_weight_val, validation_data):
    """Merge scikit-learn's and Keras' spelling of the user's own validation set.

    Returns
    -------
    tuple of (X, y, sample_weight) or None

    Raises
    ------
    ValueError
        If both are given, or half of one.
    """
    if validation_data is not None:
        if X_val is not None or y_val is not None:
            raise ValueError("Give X_val and y_val, or validation_data, not both.")
        if not isinstance(validation_data, (tuple, list)) or len(
            validation_data
        ) not in (2, 3):
            raise ValueError(
                "validation_data must be a tuple (X, y) or (X, y, sample_weight); got "
                f"{type(validation_data).__name__}."
            )
        X_val, y_val, *rest = validation_data
        if X_val is None or y_val is None:
            raise ValueError("validation_data must hold X and y; one of them is None.")
        if rest and sample_weight_val is not None:
            raise ValueError(
                "Give the weights in validation_data or in sample_weight_val, not both."
            )
        sample_weight_val = rest[0] if rest else sample_weight_val
    if (X_val is None) != (y_val is None):
        given, missing = ("X_val", "y_val") if y_val is None else ("y_val", "X_val")
        raise ValueError(f"{given} was given without {missing}.")
    if X_val is None:
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val was given without X_val and y_val.")
        return None
    return X_val, y_val, sample_weight_val
