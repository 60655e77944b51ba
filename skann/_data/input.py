"""What X and y are before scikit-learn makes arrays of them.

What has no array of numbers, or of labels, is named here in one line: the errors of
pandas, narwhals and NumPy say neither whether it was X or y, nor which column.
"""

import numpy as np
from scipy import sparse


def checked(values, name, are_labels=False):
    """Return what ``fit`` was given for X or y, as it is or as an array.

    Parameters
    ----------
    values : object
    name : str
        "X" or "y", for errors.
    are_labels : bool, default=False
        Whether it may hold other things than numbers.

    Raises
    ------
    ValueError, TypeError
        Naming what was given.
    """
    if hasattr(values, "columns") and hasattr(values, "dtypes"):
        _check_frame(values, name, are_labels)
        return values
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind == "c":
        raise ValueError(f"Complex data not supported: {name} is {values.dtype}.")
    if sparse.issparse(values) or kind != "O" or values is None:
        return values
    if isinstance(values, (list, tuple)) or hasattr(values, "dtype"):
        values = _labels(values, name) if are_labels else _numbers(values, name)
    return values


def _check_frame(frame, name, are_labels):
    columns = list(frame.columns)
    twice = sorted({str(c) for c in columns if columns.count(c) > 1})
    if twice:
        raise ValueError(f"{name} has several columns of one name: {twice}.")
    if are_labels:
        return
    for column, dtype in zip(columns, frame.dtypes, strict=True):
        reason = _is_no_number(frame, column, dtype)
        if reason:
            raise ValueError(
                f"{name} must hold numbers; its column {column!r} is {dtype}{reason}. "
                "Encode it first, with OrdinalEncoder or OneHotEncoder for instance."
            )


def _is_no_number(frame, column, dtype):
    """Return why a column holds no numbers, as the end of a sentence, or None."""
    if hasattr(dtype, "is_numeric"):  # Of polars.
        good = dtype.is_numeric() or str(dtype) in ("Boolean", "Null", "Object")
        return None if good else ", not numeric"
    if dtype.kind in "biufc":
        return None
    if dtype.kind != "O":
        return ", not numeric"
    try:
        np.asarray(frame[column], dtype=np.float64)
    except (ValueError, TypeError) as error:
        return f": {error}"
    return None


def _numbers(values, name):
    try:
        array = np.asarray(values)
        return array.astype(np.float64) if array.dtype.kind == "O" else array
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} must hold numbers, as many in each row: {error}") from None


def _labels(values, name):
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must have rows of one length: {error}") from None
    # In a list, NumPy would make strings of all labels if one is a string.
    is_list = isinstance(values, (list, tuple)) and array.ndim == 1
    if array.ndim == 1 and (array.dtype.kind == "O" or is_list):
        _check_one_type(values if is_list else array, name)
    return array


def _check_one_type(labels, name):
    kinds = {type(label) for label in labels}
    missing = [
        kind for kind in kinds if kind.__name__ in ("NoneType", "NAType", "NaTType")
    ]
    floats = (label for label in labels if isinstance(label, float))
    if missing or any(label != label for label in floats):
        raise ValueError(f"Input {name} contains NaN: each row needs a label.")
    texts = {kind for kind in kinds if issubclass(kind, str)}
    if texts and kinds - texts:
        names = sorted(kind.__name__ for kind in kinds)
        raise ValueError(f"{name} must hold labels of one type; it holds {names}.")


def one_type(labels, name):
    """Return labels as a sorted array of different ones.

    Raises
    ------
    ValueError
        Where they are no list of labels that can be compared.
    """
    array = np.asarray(checked(labels, name, are_labels=True))
    if array.ndim != 1:
        raise ValueError(f"{name} must be a list of labels; got {labels!r}.")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ValueError(f"{name} contains NaN, which is no label.")
    try:
        return np.unique(array)
    except TypeError as error:
        raise ValueError(f"{name} must hold labels of one type: {error}") from None
