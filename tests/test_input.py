"""Frames, lists, arrays of objects: what cannot be used is named in one line."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skann import MLPKerasClassifier, MLPKerasRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X[:, 0]
TWO = (Y > 0).astype(int)
FRAME = pd.DataFrame(X, columns=list("abc"))
TWICE = pd.DataFrame(X, columns=["a", "b", "a"])


def regressor():
    return MLPKerasRegressor(hidden_layer_sizes=[3], epochs=1, random_state=0)


def classifier():
    return MLPKerasClassifier(hidden_layer_sizes=[3], epochs=1, random_state=0)


def objects(*values):
    array = np.empty(40, dtype=object)
    array[:] = [values[i % len(values)] for i in range(40)]
    return array


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert not isinstance(error.value, ArithmeticError)
    return text


def polars(**columns):
    return pl.DataFrame({"a": X[:, 0], **columns})


NO_NUMBERS = {
    "text": (FRAME.assign(b=["u", "v"] * 20), r"X .* column 'b' .*'u'"),
    "strings": (
        FRAME.assign(b=pd.array(["u", "v"] * 20, dtype="string")),
        r"X .* column 'b' is string",
    ),
    "one text": (FRAME.astype(object).replace(X[3, 1], "?"), r"X .* column 'b' .*'\?'"),
    "categories": (
        FRAME.assign(c=pd.Categorical(["u", "v"] * 20)),
        "X .* column 'c' is category",
    ),
    "dates": (FRAME.assign(c=pd.Timestamp("2020")), "X .* column 'c' is datetime64"),
    "zones": (
        FRAME.assign(c=pd.Timestamp("2020", tz="UTC")),
        "X .* column 'c' is datetime64",
    ),
    "periods": (FRAME.assign(c=pd.Period("2020-01")), "X .* column 'c' is period"),
    "durations": (FRAME.assign(c=pd.Timedelta("1D")), "X .* column 'c' is timedelta"),
    "twice": (TWICE, r"X has several columns of one name: \['a'\]"),
    "twice, text": (TWICE.assign(b="u"), "X has several columns of one name"),
    "twice, Float64": (TWICE.astype("Float64"), "X has several columns of one name"),
    "polars text": (polars(b=["u"] * 40), "X .* column 'b' is String"),
    "polars dates": (
        polars(b=pl.Series([pd.Timestamp("2020")] * 40)),
        "X .* column 'b' is Datetime",
    ),
    "polars categories": (
        polars(b=pl.Series(["u", "v"] * 20, dtype=pl.Categorical)),
        "X .* column 'b' is Categorical",
    ),
    "ragged": ([[1.0, 2.0], [3.0]] * 20, "X must hold numbers, as many in each row"),
    "lists": (np.array([[1, [2]]] * 40, dtype=object), "X must hold numbers"),
    "dicts": ([{"a": 1}] * 40, "X must hold numbers"),
    "complex": (X + 1j, "Complex data not supported: X is complex128"),
    "complex objects": ((X + 1j).astype(object), "X must hold numbers"),
    "complex, sparse": (sparse.csr_array(X + 1j), "Complex data not supported: X"),
}


@pytest.mark.parametrize(("bad", "match"), NO_NUMBERS.values(), ids=NO_NUMBERS.keys())
def test_rows_that_are_no_numbers(bad, match):
    model = regressor()
    with pytest.raises((ValueError, TypeError), match=match) as error:
        model.fit(bad, Y)
    one_line(error)
    assert not hasattr(model, "n_features_in_")
    with pytest.raises((ValueError, TypeError), match=match) as error:
        regressor().fit(X, Y).predict(bad)
    one_line(error)
    with pytest.raises((ValueError, TypeError), match=f"validation set.*{match}"):
        regressor().fit(X, Y, X_val=bad, y_val=Y)


@pytest.mark.parametrize(
    "good",
    [
        FRAME.assign(b=["1", "2"] * 20),
        FRAME.assign(b=True),
        FRAME.assign(b=pd.Categorical([1, 2] * 20)),
        FRAME.astype("double[pyarrow]"),
        FRAME.astype(object),
        FRAME.astype(pd.SparseDtype("float64", 0.0)),
        pl.DataFrame(X),
        polars(b=[True, False] * 20),
        polars(b=range(40)),
        [list(row) for row in X],
        [tuple(row) for row in X],
        list(X),
        sparse.csr_array(X > 0),
        sparse.coo_array((np.ones(3), ([0, 0, 1], [1, 1, 2])), shape=(40, 3)),
        sparse.csr_array((40, 3)),
    ],
)
def test_rows_that_are_numbers(good):
    predicted = regressor().fit(good, Y).predict(good)
    assert predicted.shape == (40,)
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (objects(None, 1.0), "Input y contains NaN"),
        (objects(np.nan, 1.0), "Input y contains NaN"),
        (pl.Series([None] + [1.0] * 39), "Input y contains NaN"),
        (objects("u", 1.0), "y must hold numbers.*'u'"),
        (FRAME[["a"]].assign(b="u"), "y must hold numbers; its column 'b'"),
        (TWICE, "y has several columns of one name"),
        ([[1.0], [1.0, 2.0]] * 20, "y must hold numbers, as many in each row"),
        (Y + 1j, "Complex data not supported: y"),
    ],
)
def test_targets_that_are_no_numbers(bad, match):
    with pytest.raises((ValueError, TypeError), match=match) as error:
        regressor().fit(X, bad)
    one_line(error)
    with pytest.raises((ValueError, TypeError), match=f"validation set.*{match}"):
        regressor().fit(X, np.c_[Y, Y, Y], X_val=X, y_val=bad)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ([1, "a"] * 20, r"y must hold labels of one type; it holds \['int', 'str'\]"),
        (objects(1, "a"), r"y must hold labels of one type.*\['int', 'str'\]"),
        (objects("a", True), r"y must hold labels of one type.*\['bool', 'str'\]"),
        (objects("a", 1.5), r"y must hold labels of one type.*\['float', 'str'\]"),
        (["a", None] * 20, "Input y contains NaN"),
        (objects("a", np.nan), "Input y contains NaN"),
        (objects("a", pd.NA), "Input y contains NaN"),
        (pd.Series(["a", None] * 20, dtype="string"), "Input y contains NaN"),
        (pl.Series(["a", None] * 20), "Input y contains NaN"),
        (objects(1, 2), "objects, and none are strings"),
        (objects({1}, {2}), "objects, and none are strings"),
        ([[1], [1, 2]] * 20, "y must have rows of one length"),
        (TWO + 1j, "Complex data not supported: y"),
    ],
)
def test_labels_that_are_none(bad, match):
    with pytest.raises(ValueError, match=match) as error:
        classifier().fit(X, bad)
    one_line(error)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ([1, 2], ["a", "b"]),
        (["a", "b"], [1, 2]),
        ([1, 2], [1, "a"]),
        (["a", "b"], [1, "a"]),
        ([1, 2], [1, None]),
        ([True, False], ["True", "False"]),
        ([1, 2], np.array(["2020", "2021"], dtype="datetime64[Y]")),
        (np.array(["2020", "2021"], dtype="datetime64[Y]"), [1, 2]),
    ],
)
@pytest.mark.parametrize("as_objects", [False, True])
def test_labels_of_another_type_later(first, then, as_objects):
    y = list(first) * 20
    later = objects(*then) if as_objects else np.tile(then, 20).tolist()
    if isinstance(then, np.ndarray) or isinstance(first, np.ndarray):
        y, later = np.tile(first, 20), np.tile(then, 20)
    model = classifier().partial_fit(X, y)
    for again in (
        lambda: model.partial_fit(X, later),
        lambda: classifier().fit(X, y, X_val=X, y_val=later),
    ):
        with pytest.raises(ValueError, match=r"\by\b") as error:
            again()
        one_line(error)
    assert model.n_iter_ == 1


@pytest.mark.parametrize(
    ("classes", "match"),
    [
        ([0, "a"], "classes must hold labels of one type"),
        ([[0, 1]], "classes must be a list"),
        (3, "classes must be a list"),
        ([0, np.nan], "classes contains NaN"),
        (np.array([0.0, np.nan]), "classes contains NaN"),
        (["a", "b"], r"not in classes=\['a' 'b'\]"),
    ],
)
def test_bad_classes(classes, match):
    with pytest.raises(ValueError, match=match) as error:
        classifier().partial_fit(X, TWO, classes=classes)
    one_line(error)
    model = classifier().partial_fit(X, TWO)
    with pytest.raises(ValueError, match="classes"):
        model.partial_fit(X, TWO, classes=classes)


@pytest.mark.parametrize("seed", [np.random.default_rng(0), "a", 1.5, [1]])
def test_random_states_that_scikit_learn_does_not_take(seed):
    with pytest.raises(ValueError, match="random_state"):
        regressor().set_params(random_state=seed).fit(X, Y)
