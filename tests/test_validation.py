"""Which rows are held out: at random, in time, by groups, by splitters."""

import tracemalloc
import warnings

import keras
import numpy as np
import pytest
import sklearn
from names import named
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    check_cv,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._data.rows import Data
from skann._data.validation import HoldOut, hold_out

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X[:, 0] + 0.1 * RNG.normal(size=60)
TWO = (X[:, 1] > 0).astype(int)
GROUPS = np.repeat(np.arange(20), 3)
FAST = {"hidden_layer_sizes": [4], "epochs": 2, "random_state": 0}


def regressor(**params):
    return MLPKerasRegressor(**{**FAST, **params})


def classifier(**params):
    return MLPKerasClassifier(**{**FAST, **params})


def parts_of(estimator, y=Y, X=X, **fit):
    """Return the numbers of the rows that a fit trains on, and validates on."""
    seen = []

    class Spy(type(estimator)):
        def _train(self, data, *rest, **how):
            seen.append(data)
            super()._train(data, *rest, **how)

    Spy(**estimator.get_params(deep=False)).fit(X, y, **fit)
    (data,) = seen
    return data.rows, [] if data.validation is None else data.validation.rows


# -- stratified as far as it goes ---------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("counts", "n_held_out"),
    [
        ([999, 1], 100),
        ([500, 497, 1, 1, 1], 100),
        ([5] * 200, 100),
        ([2] * 500, 100),
        ([1] * 50 + [950], 100),
        ([1] * 95 + [5], 4),  # All but the last row of the only class that can.
        ([2] * 20, 4),
    ],
    ids=named,
)
def test_rare_classes_stay_in_training(counts, n_held_out, seed):
    y = RNG.permutation(np.repeat(np.arange(len(counts)), counts))
    train, held_out = hold_out(len(y), 0.1, y, seed)
    assert_array_equal(np.sort([*train, *held_out]), np.arange(len(y)))
    assert_array_equal(np.unique(y[train]), np.arange(len(counts)))
    assert len(held_out) == n_held_out
    share = np.bincount(y[held_out], minlength=len(counts))
    frequent = np.flatnonzero(np.array(counts) > 20)
    expected = 0.1 * np.array(counts)[frequent]
    # What the rare classes keep goes to the others.
    assert np.all(np.abs(share[frequent] - expected) <= 1 + 0.1 * len(counts))
    assert_array_equal(hold_out(len(y), 0.1, y, seed)[1], held_out)


def test_more_classes_than_held_out_rows_are_drawn_fairly():
    y = np.repeat(np.arange(200), 5)
    drawn = np.zeros(200)
    for seed in range(60):
        share = np.bincount(y[hold_out(1000, 0.1, y, seed)[1]], minlength=200)
        assert share.max() == 1
        drawn += share
    assert drawn.min() > 10
    assert drawn.max() < 50


def test_classes_of_one_row_each_are_held_out_all_the_same():
    train, held_out = hold_out(40, 0.1, np.arange(40), 0)
    assert (len(train), len(held_out)) == (36, 4)


def one_rare_class(n):
    return np.array(["common"] * (n - 1) + ["rare"])


@pytest.mark.parametrize(
    "y", [one_rare_class(1000), np.arange(1000) % 200, np.arange(1000)], ids=len
)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.filterwarnings("ignore:validation='last' holds out every row")
@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")
def test_a_default_fit_takes_any_classes(y, shuffle):
    rows = RNG.normal(size=(1000, 2))
    model = classifier(shuffle=shuffle).fit(rows, y)
    assert len(model.history_["val_loss"]) == 2
    assert_array_equal(model.classes_, np.unique(y))


def test_nothing_to_train_on_is_an_error():
    for how in ("random", "last"):
        model = regressor(early_stopping=True, validation=how)
        with pytest.raises(ValueError, match="leaves none to train on"):
            model.fit(X[:1], Y[:1])


# -- what asks for a validation set -------------------------------------------------


@pytest.mark.parametrize("make", [regressor, classifier])
@pytest.mark.parametrize("early_stopping", [False, "auto"])
@pytest.mark.parametrize(
    ("params", "n_held_out"),
    [
        ({}, 0),
        ({"validation_fraction": 0.2}, 12),
        ({"validation_fraction": 0.1}, 6),
        ({"validation_fraction": 0.2, "validation": "last"}, 12),
        ({"validation": "last"}, 6),
        ({"validation": "random"}, 6),
        ({"validation": KFold(4)}, 15),
        ({"validation_fraction": None}, 0),
    ],
    ids=named,
)
def test_what_is_set_is_held_out(make, early_stopping, params, n_held_out):
    model = make(early_stopping=early_stopping, **params)
    train, held_out = parts_of(model, TWO)
    assert (len(train), len(held_out)) == (60 - n_held_out, n_held_out)
    history = model.fit(X, TWO).history_
    assert ("val_loss" in history) == (n_held_out > 0)


def test_a_fraction_alone_stops_no_fit():
    model = regressor(validation_fraction=0.5, patience=0, min_delta=1e9, epochs=9)
    assert model.fit(X, Y).n_iter_ == 9


def test_none_held_out_is_no_error_of_a_default_fit():
    rows = RNG.normal(size=(1000, 2))
    never = {"validation_fraction": None, "patience": 0, "min_delta": 1e9}
    model = regressor(**never, epochs=5)
    assert list(model.fit(rows, rows[:, 0]).history_) == ["loss"]
    assert model.n_iter_ == 5
    assert model.set_params(monitor="loss").fit(rows, rows[:, 0]).n_iter_ < 5
    with pytest.raises(ValueError, match="needs a validation set"):
        model.set_params(early_stopping=True, monitor="val_loss").fit(rows, rows[:, 0])


@pytest.mark.parametrize("params", [{}, {"validation_fraction": 0.5}])
def test_the_users_own_set_comes_first(params):
    train, held_out = parts_of(regressor(**params), X_val=X[:7], y_val=Y[:7])
    assert_array_equal(train, np.arange(60))
    assert_array_equal(held_out, np.arange(7))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (
            {"validation_fraction": None, "validation": "last"},
            "validation='last' would",
        ),
        ({"validation_fraction": None, "validation": "random"}, "validation='random'"),
        ({"validation_fraction": None, "validation": KFold(3)}, "validation_fraction"),
        ({"validation_fraction": 0.1, "validation": KFold(3)}, "validation_fraction"),
    ],
    ids=named,
)
def test_what_would_have_no_effect_is_an_error(params, match):
    model = regressor(**params)
    with pytest.raises(ValueError, match=match):
        model.fit(X, Y)
    assert not hasattr(model, "model_")


# -- rows in time -------------------------------------------------------------------


@pytest.mark.parametrize(
    "params", [{"shuffle": False}, {"validation": "last"}], ids=named
)
def test_rows_in_time(params):
    train, held_out = parts_of(regressor(early_stopping=True, **params))
    assert_array_equal(held_out, np.arange(54, 60))
    assert_array_equal(train, np.arange(54))


def test_random_rows_of_rows_that_are_not_shuffled():
    model = regressor(early_stopping=True, shuffle=False, validation="random")
    assert parts_of(model)[1].min() < 50


def test_a_class_of_the_last_rows_only():
    y = np.repeat(["a", "b", "c"], [30, 27, 3])
    model = classifier(validation="last")
    with pytest.warns(UserWarning, match=r"validation='last' .*\['c'\].* be learned"):
        model.fit(X, y)
    assert_array_equal(model.classes_, ["a", "b", "c"])


# -- rows in groups -----------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.9])
@pytest.mark.parametrize("make", [regressor, classifier])
def test_whole_groups_are_held_out(make, fraction, seed):
    order = np.random.default_rng(seed).permutation(60)
    groups = np.array([f"g{g}" for g in GROUPS])[order]
    y = np.arange(60) % 2
    data = Data.weighted(X, y, None)
    labels = y if make is classifier else None
    how = HoldOut("auto", fraction, in_order=bool(seed % 2))
    with warnings.catch_warnings():
        # Where most rows are held out, a class may be among them as a whole.
        warnings.simplefilter("default" if fraction == 0.9 else "error")
        train, held_out = how.split(data, labels, groups, seed)
    assert not set(groups[train]) & set(groups[held_out])
    assert_array_equal(np.sort([*train, *held_out]), np.arange(60))
    assert 0 < len(held_out) <= np.ceil(60 * fraction)


def test_groups_of_very_different_sizes():
    groups = np.repeat([0, 1, 2], [50, 6, 4])
    data = Data.weighted(X, Y, None)
    for seed in range(5):
        held_out = HoldOut("auto", 0.1, False).split(data, None, groups, seed)[1]
        assert len(held_out) in (4, 6)
    larger = np.repeat([0, 1], [40, 20])
    held_out = HoldOut("auto", 0.1, False).split(data, None, larger, 0)[1]
    assert_array_equal(held_out, np.arange(40, 60))


def test_groups_of_a_fit():
    train, held_out = parts_of(regressor(early_stopping=True), groups=GROUPS)
    assert len(held_out) == 6
    assert not set(GROUPS[train]) & set(GROUPS[held_out])


def test_copies_of_a_row_are_a_group():
    """Oversampling before the split would put a row's copies on either side."""
    picked = RNG.integers(20, size=60)
    fit = {"X": X[picked], "y": Y[picked], "groups": picked}
    train, held_out = parts_of(regressor(early_stopping=True), **fit)
    assert not set(picked[train]) & set(picked[held_out])


def test_rows_without_weight_are_in_no_part():
    weight = np.tile([1.0, 0.0], 30)
    for params, groups in (
        ({}, None),
        ({}, GROUPS),
        ({"validation": "last"}, None),
        ({"validation": GroupKFold(3)}, GROUPS),
        ({"validation": PredefinedSplit(np.arange(60) // 50 - 1)}, None),
    ):
        fit = {"groups": groups, "sample_weight": weight}
        train, held_out = parts_of(regressor(early_stopping=True, **params), **fit)
        assert_array_equal(np.sort([*train, *held_out]), np.arange(0, 60, 2))
        if groups is not None:
            assert not set(groups[train]) & set(groups[held_out])
    assert_array_equal(held_out, [50, 52, 54, 56, 58])


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        (GROUPS[:-1], r"one entry for each of the 60 rows.*\(59,\)"),
        (np.zeros(60), "groups holds one group only"),
        (np.c_[GROUPS, GROUPS], r"one entry .* shape is \(60, 2\)"),
        (np.r_[np.nan, GROUPS[1:]], "groups contains NaN"),
        (np.array([1, "a"] * 30, dtype=object), "groups must hold names of one type"),
        ([None, *GROUPS[1:]], "groups contains None"),
        ([None] * 60, "groups contains None"),
    ],
)
def test_bad_groups(groups, match):
    with pytest.raises(ValueError, match=match):
        regressor(early_stopping=True).fit(X, Y, groups=groups)


def test_groups_of_the_last_rows():
    with pytest.raises(
        ValueError, match="groups cannot be used with validation='last'"
    ):
        regressor(validation="last").fit(X, Y, groups=GROUPS)


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_a_search_routes_groups(in_pipeline):
    seen = []

    class Spy(MLPKerasRegressor):
        def fit(self, X, y, sample_weight=None, *, groups=None, **rest):
            seen.append(groups)
            return super().fit(X, y, sample_weight, groups=groups, **rest)

    with sklearn.config_context(enable_metadata_routing=True):
        model = Spy(**FAST, early_stopping=True).set_fit_request(groups=True)
        grid = {"learning_rate": [0.01, 0.1]}
        if in_pipeline:
            model = make_pipeline(StandardScaler(), model)
            grid = {"spy__learning_rate": [0.01, 0.1]}
        GridSearchCV(model, grid, cv=GroupKFold(2)).fit(X, Y, groups=GROUPS)
    assert [len(groups) for groups in seen] == [30, 30, 30, 30, 60]
    assert not set(seen[0]) & set(seen[1])


# -- splitters ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("splitter", "held_out"),
    [
        (TimeSeriesSplit(5), np.arange(50, 60)),
        (TimeSeriesSplit(2, test_size=4, gap=3), np.arange(56, 60)),
        (KFold(6), np.arange(50, 60)),
        (LeaveOneGroupOut(), np.arange(57, 60)),
        (PredefinedSplit([-1] * 20 + [0] * 5 + [-1] * 35), np.arange(20, 25)),
    ],
    ids=named,
)
def test_the_last_split_counts(splitter, held_out):
    groups = GROUPS if "Group" in type(splitter).__name__ else None
    parts = parts_of(regressor(validation=splitter), groups=groups)
    assert_array_equal(parts[1], held_out)
    expected = list(splitter.split(X, Y, groups))[-1][0]
    assert_array_equal(parts[0], expected)  # A gap is in neither part.


@pytest.mark.parametrize(
    "splitter",
    [
        ShuffleSplit(1, test_size=0.3),
        GroupShuffleSplit(1, test_size=0.3),
        KFold(3, shuffle=True),
        StratifiedKFold(3, shuffle=True),
        StratifiedGroupKFold(3, shuffle=True),
        ShuffleSplit(1, test_size=0.3, random_state=np.random.RandomState(3)),
    ],
    ids=named,
)
def test_splitters_that_draw_follow_random_state(splitter):
    fit = {"y": TWO, "groups": GROUPS if "Group" in repr(splitter) else None}
    first, again = (parts_of(classifier(validation=splitter), **fit) for _ in range(2))
    assert_array_equal(first[1], again[1])
    before = np.random.get_state()[1]  # noqa: NPY002
    other = parts_of(clone(classifier(validation=splitter, random_state=1)), **fit)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    drawn_by_fit = splitter.random_state is None
    assert np.array_equal(first[1], other[1]) != drawn_by_fit


@pytest.mark.parametrize(
    "splitter", [StratifiedKFold(5), StratifiedGroupKFold(5)], ids=named
)
def test_splitters_are_given_the_labels_of_columns(splitter):
    three = np.digitize(X[:, 2], [-0.4, 0.4])
    groups = GROUPS if "Group" in repr(splitter) else None
    model = classifier(validation=splitter)
    plain, columns = (
        parts_of(model, y=y, groups=groups) for y in (three, np.eye(3)[three])
    )
    assert_array_equal(columns[0], plain[0])
    assert_array_equal(columns[1], plain[1])


FOLDS = np.r_[[-1] * 45, [0] * 5, [-1] * 10]
FIXED = {
    "predefined": PredefinedSplit(FOLDS),
    "list": check_cv([(np.flatnonzero(FOLDS < 0), np.flatnonzero(FOLDS == 0))]),
}


@pytest.mark.parametrize("splitter", FIXED.values(), ids=FIXED.keys())
def test_fixed_rows_are_rows_of_all_of_X(splitter):
    weight = np.r_[np.zeros(10), np.ones(36), [0.0], np.ones(13)]
    for given in (None, weight):
        train, held_out = parts_of(regressor(validation=splitter), sample_weight=given)
        used = np.arange(60) if given is None else np.flatnonzero(given)
        assert_array_equal(held_out, used[FOLDS[used] == 0])
        assert_array_equal(train, used[FOLDS[used] < 0])
    with pytest.raises(ValueError, match="no row to validate on"):
        regressor(validation=splitter).fit(X, Y, (FOLDS < 0).astype(float))


class Overlapping:
    def get_n_splits(self, X=None, y=None, groups=None):
        return 1

    def split(self, X, y=None, groups=None):
        yield np.arange(len(X)), np.arange(5)


class Outside(Overlapping):
    def split(self, X, y=None, groups=None):
        yield np.arange(5), np.arange(len(X), len(X) + 5)


class Nothing(Overlapping):
    def split(self, X, y=None, groups=None):
        yield np.arange(5), np.arange(0)


class Never(Overlapping):
    def split(self, X, y=None, groups=None):
        return iter(())


@pytest.mark.parametrize(
    ("splitter", "match"),
    [
        (Overlapping(), "validates on rows that it trains on"),
        (Outside(), "rows that are not among the 60"),
        (Nothing(), "no row to validate on"),
        (Never(), "gives no split"),
        (KFold(100), "cannot split these rows"),
        (GroupKFold(3), "cannot split these rows"),
        (StratifiedKFold(3), "cannot split these rows"),
        (PredefinedSplit(np.arange(100) // 50), "rows that are not among the 60"),
        (PredefinedSplit(np.arange(50) // 40 - 1), "has 50 rows, and X has 60"),
        (check_cv([]), "gives no split"),
        (check_cv([(np.arange(5), np.arange(55, 61))]), "not among the 60"),
    ],
)
def test_bad_splitters(splitter, match):
    model = regressor(validation=splitter)
    with pytest.raises(ValueError, match=rf"validation=.*{match}"):
        model.fit(X, Y)
    assert not hasattr(model, "model_")


# -- rows that must not be made dense as a whole --------------------------------------


def functional(input_shape, n_outputs):
    rows = keras.Input(input_shape)
    hidden = keras.layers.Dense(2, activation="relu")(rows)
    return keras.Model(rows, keras.layers.Dense(n_outputs)(hidden))


WIDE = {
    "arrays": {"hidden_layer_sizes": [2]},
    "stack": {"hidden_layer_sizes": [2], "dropout": 0.1},
    "other": {"model": functional},
    "keras": {"hidden_layer_sizes": [2], "engine": "keras"},
}


@pytest.mark.parametrize(
    ("params", "own", "kind"),
    [
        (WIDE["arrays"], False, "sparse"),
        (WIDE["arrays"], True, "sparse"),
        (WIDE["arrays"], False, "memory-mapped"),
        (WIDE["arrays"], True, "memory-mapped"),
        (WIDE["stack"], False, "sparse"),
        (WIDE["other"], True, "memory-mapped"),
        (WIDE["keras"], False, "sparse"),
    ],
    ids=named,
)
def test_validation_rows_are_made_dense_a_chunk_at_a_time(params, own, kind, tmp_path):
    n, width = 700, 20_000
    rows = sparse.random_array((n, width), density=1e-4, rng=RNG, format="csr")
    y = rows.sum(axis=1)
    if kind == "memory-mapped":
        np.save(tmp_path / "X.npy", rows.toarray().astype("float32"))
        rows = np.load(tmp_path / "X.npy", mmap_mode="r")
    fit = {"X": rows, "y": y}
    held_out = {"early_stopping": False, "validation_fraction": 0.7}
    if own:
        fit = {"X": rows[:50], "y": y[:50], "X_val": rows[50:], "y_val": y[50:]}
        held_out = {"early_stopping": False}
    model = MLPKerasRegressor(
        **{"epochs": 1, "dtype": "float32"} | params, **held_out, random_state=0
    )
    if "model" in params:
        model.set_params(dtype="auto")
    tracemalloc.start()
    try:
        model.fit(**fit)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "val_loss" in model.history_
    dense_bytes = 4 * (0.7 * n) * width
    assert peak < dense_bytes
