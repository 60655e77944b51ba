"""The validation set by itself: parts of row numbers, groups, the user's own set."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.model_selection import (
    KFold,
    PredefinedSplit,
    StratifiedKFold,
    check_cv,
)

from skann._data.rows import Data
from skann._data.validation import HoldOut, check_groups, hold_out, own_validation_set

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20.0)
DATA = Data.weighted(X, Y, None)
TWO = np.arange(20) % 2


def held_out(how="auto", fraction="auto", in_order=False, labels=None, groups=None):
    train, held = HoldOut(how, fraction, in_order).split(DATA, labels, groups, seed=0)
    assert_array_equal(np.sort(train), train)
    assert_array_equal(np.sort(held), held)
    return train, held


@pytest.mark.parametrize(
    ("how", "fraction", "asked"),
    [
        ("auto", "auto", False),
        ("auto", None, False),
        ("auto", 0.1, True),
        ("random", "auto", True),
        ("last", "auto", True),
        ("last", 0.2, True),
        (KFold(3), "auto", True),
    ],
)
def test_what_is_set_asks_for_a_validation_set(how, fraction, asked):
    assert HoldOut(how, fraction, False).is_asked_for == asked


@pytest.mark.parametrize(
    ("how", "fraction", "match"),
    [
        ("last", None, r"^validation='last' would have no effect"),
        ("random", None, r"^validation='random' would have no effect"),
        (KFold(3), None, r"^validation_fraction=None would have no effect.*KFold"),
        (KFold(3), 0.1, r"^validation_fraction=0.1 would have no effect.*KFold"),
    ],
)
def test_what_leaves_something_without_effect(how, fraction, match):
    with pytest.raises(ValueError, match=match):
        HoldOut(how, fraction, False)


@pytest.mark.parametrize(
    ("fraction", "n"), [("auto", 2), (0.01, 1), (0.101, 3), (0.5, 10)]
)
@pytest.mark.parametrize("how", ["random", "last"])
def test_the_share_of_rows_is_rounded_up(how, fraction, n):
    train, held = held_out(how, fraction)
    assert len(held) == n
    assert_array_equal(np.sort([*train, *held]), np.arange(20))


def test_the_last_rows_where_rows_are_in_order():
    for how, in_order in (("last", False), ("last", True), ("auto", True)):
        assert_array_equal(held_out(how, 0.2, in_order)[1], [16, 17, 18, 19])
    for how, in_order in (("random", True), ("auto", False)):
        assert_array_equal(
            held_out(how, 0.2, in_order)[1], hold_out(20, 0.2, None, 0)[1]
        )


def test_random_rows_have_the_proportions_of_the_classes():
    _, held = held_out("random", 0.5, labels=np.repeat([0, 1], [16, 4]))
    assert np.count_nonzero(held >= 16) == 2


def test_a_class_that_cannot_be_learned_is_told():
    labels = np.repeat(["a", "b"], [18, 2])
    with pytest.warns(UserWarning, match=r"^validation='last' .*classes \['b'\]"):
        held_out("last", labels=labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held_out("last", labels=labels[::-1])


def test_groups_are_held_out_as_a_whole():
    groups = np.repeat(list("abcd"), 5)
    train, held = held_out("random", 0.3, groups=groups)
    assert len(held) == 5
    assert len({*groups[held]}) == 1
    assert not {*groups[held]} & {*groups[train]}
    # Where none is small enough, the smallest one.
    assert_array_equal(held_out(groups=np.repeat([0, 1], [7, 13]))[1], np.arange(7))


def test_the_last_split_of_a_splitter():
    train, held = held_out(KFold(4))
    assert_array_equal(held, np.arange(15, 20))
    assert_array_equal(train, np.arange(15))
    _, held = held_out(StratifiedKFold(5), labels=TWO)
    assert_array_equal(TWO[held], [0, 1, 0, 1])


def test_a_splitter_that_draws_is_seeded_and_left_as_it_was():
    splitter = KFold(4, shuffle=True)
    parts = [
        HoldOut(splitter, "auto", False).split(DATA, None, None, s) for s in (0, 1)
    ]
    again = HoldOut(splitter, "auto", False).split(DATA, None, None, 0)
    assert_array_equal(parts[0][1], again[1])
    assert not np.array_equal(parts[0][1], parts[1][1])
    assert splitter.random_state is None


def test_a_predefined_split_names_rows_of_all_of_X():
    weight = np.r_[0.0, np.ones(19)]
    data = Data.weighted(X, Y, weight)
    fold = np.r_[[-1] * 10, [0] * 10]
    split = HoldOut(PredefinedSplit(fold), "auto", False).split
    train, held = split(data, None, None, 0)
    assert_array_equal(data.rows[train], np.arange(1, 10))
    assert_array_equal(data.rows[held], np.arange(10, 20))


@pytest.mark.parametrize(
    ("splitter", "match"),
    [
        (KFold(30), "cannot split these rows"),
        (PredefinedSplit([0] * 10), "has 10 rows, and X has 20"),
        (PredefinedSplit([-1] * 20), "gives no split"),
        (PredefinedSplit([0] * 20), "leaves no row to train on"),
        (check_cv([([0, 1], [])]), "leaves no row to validate on"),
        (check_cv([([0, 1], [1, 2])]), r"validates on rows that it trains on: \[1\]"),
        (check_cv([([0, 1], [20])]), "names rows that are not among the 20"),
        (check_cv([([-1, 1], [2])]), "names rows that are not among the 20"),
        (check_cv([([0.0, 1.0], [2])]), "names rows that are not among the 20"),
    ],
)
def test_splitters_that_cannot_be_used(splitter, match):
    with pytest.raises(ValueError, match=rf"^validation=.*{match}"):
        held_out(splitter)


def test_a_splitter_is_given_the_rows_that_have_weight():
    class Spy(KFold):
        def split(self, X, y, groups):
            seen.extend([X, y])
            return super().split(X, y, groups)

    seen, weight = [], np.arange(20) % 2
    HoldOut(Spy(2), "auto", False).split(Data.weighted(X, Y, weight), None, None, 0)
    assert_array_equal(seen[0], X[1::2])
    assert_array_equal(seen[1], Y[1::2])


def test_one_group_leaves_nothing_to_train_on():
    with pytest.raises(ValueError, match="one group only"):
        held_out(groups=np.zeros(20))
    with pytest.raises(ValueError, match="leaves none to train on"):
        HoldOut("random", 0.99, False).split(DATA, None, None, 0)


def test_groups_cannot_be_held_out_by_the_last_rows():
    with pytest.raises(
        ValueError, match="groups cannot be used with validation='last'"
    ):
        held_out("last", groups=TWO)


@pytest.mark.parametrize("n", [5, 10, 12, 18])
def test_rare_classes_keep_a_row_and_the_others_give_theirs(n):
    labels = np.repeat([0, 1, 2, 3], [9, 7, 1, 3])
    train, held = hold_out(20, n / 20, labels, seed=0)
    held_of_each = np.bincount(labels[held], minlength=4)
    assert_array_equal(np.sort([*train, *held]), np.arange(20))
    assert held_of_each[2] == 0
    assert set(labels[train]) == {0, 1, 2, 3}
    assert len(held) == min(n, 16)
    if n < 16:  # A row of one class more or less is what rounding may cost.
        assert np.abs(held_of_each - np.array([9, 7, 0, 3]) * n / 19).max() <= 1


# -- groups -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "groups", [[1, 2, 2], np.array([[1], [2], [2]]), ("a", "b", "b")]
)
def test_groups_are_an_array_of_one_for_each_row(groups):
    checked = check_groups(groups, 3)
    assert checked.shape == (3,)
    assert len(np.unique(checked)) == 2


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        ([1, 2], r"one entry for each of the 3 rows; its shape is \(2,\)"),
        ([[1, 2]] * 3, r"its shape is \(3, 2\)"),
        ([1.0, np.nan, 2.0], "groups contains NaN"),
        ([1, None, 2], "groups contains None"),
        (np.array([1, "a", 2], dtype=object), "names of one type"),
    ],
)
def test_groups_that_are_none(groups, match):
    with pytest.raises(ValueError, match=match):
        check_groups(groups, 3)


# -- the user's own set -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None, None), None),
        ((X, Y, None, None), (X, Y, None)),
        ((X, Y, TWO, None), (X, Y, TWO)),
        ((None, None, None, (X, Y)), (X, Y, None)),
        ((None, None, None, [X, Y, TWO]), (X, Y, TWO)),
        ((None, None, TWO, (X, Y)), (X, Y, TWO)),
    ],
)
def test_two_spellings_are_one_set(given, expected):
    made = own_validation_set(*given)
    if expected is None:
        assert made is None
    else:
        assert all(a is b for a, b in zip(made, expected, strict=True))


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((X, Y, None, (X, Y)), "not both"),
        ((None, Y, None, (X, Y)), "not both"),
        ((None, None, TWO, (X, Y, TWO)), "not both"),
        ((X, None, None, None), "^X_val was given without y_val"),
        ((None, Y, None, None), "^y_val was given without X_val"),
        ((None, None, TWO, None), "^sample_weight_val was given without"),
        ((None, None, None, (X,)), r"must be a tuple .*got tuple"),
        ((None, None, None, X), r"must be a tuple .*got ndarray"),
        ((None, None, None, (X, None)), "one of them is None"),
    ],
)
def test_half_a_set_and_two_sets_are_none(given, match):
    with pytest.raises(ValueError, match=match):
        own_validation_set(*given)
