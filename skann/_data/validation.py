"""The validation set: rows held out of the training set, or the user's own."""

from __future__ import annotations

import copy
import warnings
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from sklearn.model_selection import PredefinedSplit, check_cv, train_test_split

from skann._runtime.text import one_line

if TYPE_CHECKING:
    from skann._types import Float, Splitter

# Share of the rows held out where something needs a validation set.
_FRACTION = 0.1


@dataclass(frozen=True)
class HoldOut:
    """How a fit holds rows out, by its parameters.

    Parameters
    ----------
    how : {"auto", "random", "last"} or splitter
        "auto" takes the last rows where rows are in order, and random ones elsewhere.
    fraction : float in (0, 1), "auto" or None
        Share of the rows; None holds out none.
    in_order : bool
        Whether the rows are trained on in their order.

    Raises
    ------
    ValueError
        Where one parameter leaves another without effect.
    """

    how: Literal["auto", "random", "last"] | Splitter
    fraction: Float | Literal["auto"] | None
    in_order: bool

    def __post_init__(self):
        if isinstance(self.how, str):
            if self.how != "auto" and self.fraction is None:
                raise ValueError(
                    f"validation={self.how!r} would have no effect: "
                    "validation_fraction=None holds out no rows."
                )
        elif self.fraction != "auto":
            raise ValueError(
                f"validation_fraction={self.fraction!r} would have no effect: "
                f"validation={self.how!r} says how many rows are held out."
            )

    @property
    def is_asked_for(self):
        """Whether rows are held out though nothing else needs a validation set."""
        return not (self.fraction is None or self.fraction == self.how == "auto")

    def split(self, data, labels, groups, seed):
        """Split the positions of the rows into training and validation rows.

        Parameters
        ----------
        data : Data
        labels : ndarray of shape (n_rows,) or None
            Classes in whose proportions random rows are drawn.
        groups : ndarray of shape (n_rows,) or None
            Rows of one group are held out together, or not at all.
        seed : int

        Returns
        -------
        train, validation : ndarray of int, sorted
        """
        n_rows = len(data.rows)
        if not isinstance(self.how, str):
            parts = _by_splitter(self.how, data, labels, groups, seed)
            return _with_all_classes(parts, labels, self.how)
        fraction = _FRACTION if self.fraction == "auto" else self.fraction
        if groups is not None:
            if self.how == "last":
                raise ValueError(
                    "groups cannot be used with validation='last': the last rows are "
                    "held out whatever their group. Use validation='random', which "
                    "holds out whole groups, or a splitter."
                )
            parts = _whole_groups(groups, n_rows, fraction, seed)
            return _with_all_classes(parts, labels, "random")
        if self.how == "last" or (self.how == "auto" and self.in_order):
            start = n_rows - _n_held_out(n_rows, fraction)
            parts = np.arange(start), np.arange(start, n_rows)
            return _with_all_classes(parts, labels, "last")
        return hold_out(n_rows, fraction, labels, seed)


def hold_out(n_rows, fraction, labels, seed):
    """Split row numbers into training and validation rows, at random.

    Parameters
    ----------
    n_rows : int
    fraction : float in (0, 1)
        Share of the rows held out.
    labels : ndarray of shape (n_rows,) or None
        Classes in whose proportions both parts are drawn, as far as that goes: of
        each class a row at least is trained on.
    seed : int

    Returns
    -------
    train, validation : ndarray of int, sorted

    Raises
    ------
    ValueError
        Where there would be nothing to train on.
    """
    n_validation = _n_held_out(n_rows, fraction)
    if labels is not None:
        _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        few = min(n_validation, n_rows - n_validation) < len(counts)
        if len(counts) == n_rows:
            labels = None  # Any row held out is the last of its class.
        elif few or counts.min() < 2:
            return _nearly_stratified(codes, counts, n_validation, seed)
    train, validation = train_test_split(
        np.arange(n_rows), test_size=n_validation, stratify=labels, random_state=seed
    )
    return np.sort(train), np.sort(validation)


_REMEDIES = (
    "Set early_stopping=False, give a validation set of your own (X_val, y_val), or "
    "change validation_fraction."
)


def _n_held_out(n_rows, fraction):
    n_validation = int(np.ceil(fraction * n_rows))
    if n_validation >= n_rows:
        raise ValueError(
            f"validation_fraction={fraction} of {n_rows} rows leaves none to train on. "
            f"{_REMEDIES}"
        )
    return n_validation


def _nearly_stratified(codes, counts, n_validation, seed):
    """Hold out rows of each class in proportion, but never the last one of a class."""
    rng = np.random.RandomState(seed)
    shares = _shares(counts, n_validation, rng)
    order = rng.permutation(len(codes))
    # The rows class by class, those of a class in random order.
    order = order[np.argsort(codes[order], kind="stable")]
    number_in_class = np.arange(len(codes)) - np.repeat(
        counts.cumsum() - counts, counts
    )
    is_held_out = number_in_class < np.repeat(shares, counts)
    return np.sort(order[~is_held_out]), np.sort(order[is_held_out])


def _shares(counts, n_validation, rng):
    """Return how many rows of each class are held out, fewer than there are."""
    most = counts - 1
    exact = counts * n_validation / counts.sum()
    shares = np.minimum(np.floor(exact).astype(int), most)
    missing = min(n_validation, most.sum()) - shares.sum()
    while missing > 0:
        # Those that lack most of their share; ties by lot.
        lack = np.where(shares < most, exact - shares, -np.inf)
        by_need = np.lexsort((rng.permutation(len(counts)), -lack))
        chosen = by_need[: min(missing, np.count_nonzero(shares < most))]
        shares[chosen] += 1
        missing -= len(chosen)
    return shares


def check_groups(groups, n_rows):
    """Return groups as an array with an entry for each row of X.

    Raises
    ------
    ValueError
        Where they are of another number, of several types, or missing.
    """
    groups = np.asarray(groups)
    if groups.shape not in ((n_rows,), (n_rows, 1)):
        raise ValueError(
            f"groups must have one entry for each of the {n_rows} rows; its shape is "
            f"{groups.shape}."
        )
    groups = groups.ravel()
    if groups.dtype == object and any(group is None for group in groups):
        raise ValueError("groups contains None: each row must belong to a group.")
    try:
        found = np.unique(groups)
    except TypeError as error:
        raise ValueError(f"groups must hold names of one type: {error}") from None
    if np.any(found != found):
        raise ValueError("groups contains NaN: each row must belong to a group.")
    return groups


def _whole_groups(groups, n_rows, fraction, seed):
    """Hold out groups drawn at random, of as many rows as asked for at most.

    Where the smallest of them has more rows, that one is held out.
    """
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError(
            "groups holds one group only: held out as a whole, it leaves nothing to "
            f"train on. {_REMEDIES}"
        )
    room, chosen = _n_held_out(n_rows, fraction), []
    for group in np.random.RandomState(seed).permutation(len(sizes)):
        if sizes[group] <= room:
            chosen.append(group)
            room -= sizes[group]
    is_held_out = np.isin(codes, chosen or sizes.argmin())
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _by_splitter(splitter, data, labels, groups, seed):
    """Return the last split of a splitter of scikit-learn's.

    The last one of a `TimeSeriesSplit` trains on all rows but the newest; of others,
    any is as good.
    """
    n_rows = len(data.rows)
    name = f"validation={one_line(repr(splitter))}"
    if isinstance(splitter, _OF_FIXED_ROWS):
        return _fixed_parts(splitter, data, name)
    every = n_rows == data.X.shape[0]
    splitter = copy.deepcopy(splitter)
    if getattr(splitter, "random_state", 0) is None:
        # Left alone, it would draw from NumPy's global generator.
        splitter.random_state = seed
    y = data.y if labels is None else labels  # Of a column for each class, one.
    try:
        X = data.X if every else data.X[data.rows]
        last = deque(splitter.split(X, y, groups), maxlen=1)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} cannot split these rows: {error}") from error
    if not last:
        raise ValueError(f"{name} gives no split.")
    train, validation = (np.unique(part) for part in last[0])
    _check_parts(train, validation, n_rows, name)
    return train, validation


# Those that name rows of all of X, whatever they weigh.
_OF_FIXED_ROWS = (PredefinedSplit, type(check_cv([])))


def _fixed_parts(splitter, data, name):
    n_rows = data.X.shape[0]
    if isinstance(splitter, PredefinedSplit) and len(splitter.test_fold) < n_rows:
        raise ValueError(
            f"{name} has {len(splitter.test_fold)} rows, and X has {n_rows}: give a "
            "fold for each, of -1 for those that are trained on."
        )
    last = deque(splitter.split(np.zeros(n_rows)), maxlen=1)
    if not last:
        raise ValueError(f"{name} gives no split.")
    try:
        train, validation = (np.unique(part) for part in last[0])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} cannot split these rows: {error}") from error
    _check_parts(train, validation, n_rows, name)
    train, validation = (
        np.flatnonzero(np.isin(data.rows, part)) for part in (train, validation)
    )
    _check_parts(train, validation, len(data.rows), name)
    return train, validation


def _check_parts(train, validation, n_rows, name):
    for part, purpose in ((train, "train on"), (validation, "validate on")):
        if not len(part):
            raise ValueError(f"{name} leaves no row to {purpose}.")
        if part.dtype.kind not in "iu" or part[0] < 0 or part[-1] >= n_rows:
            raise ValueError(f"{name} names rows that are not among the {n_rows}.")
    both = np.intersect1d(train, validation)
    if len(both):
        raise ValueError(f"{name} validates on rows that it trains on: {both[:5]}.")


def _with_all_classes(parts, labels, how):
    """Return the parts; warn of a class that is in no training row."""
    if labels is not None:
        train, validation = parts
        unseen = np.setdiff1d(labels[validation], labels[train])
        if len(unseen):
            warnings.warn(
                f"validation={how!r} holds out every row of the classes "
                f"{unseen.tolist()}: they cannot be learned. Hold out other rows "
                "(validation, validation_fraction), or give X_val and y_val.",
                stacklevel=5,
            )
    return parts


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
