"""Numbers of any library as Python's own, and as parameters of Keras' take them."""

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real

import numpy as np
import pytest

from skann._network.numbers import Number, like, plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.True_, True),
        (np.array(2.5), 2.5),
        (Fraction(1, 4), 0.25),
        (Decimal("0.25"), 0.25),
        (Fraction(10**400), math.inf),
        (-Fraction(10**400), -math.inf),
        (10**400, 10**400),
        ("0.5", "0.5"),
        (None, None),
        ([np.int64(1), (Fraction(1, 2),)], [1, (0.5,)]),
        ({"a": {np.int64(1)}}, {"a": {1}}),
    ],
)
def test_numbers_become_pythons_own(value, expected):
    made = plain(value)
    assert made == expected
    assert type(made) is type(expected)


def test_what_holds_numbers_stays_the_users():
    inner = [np.int64(1)]
    given = {"a": inner}
    assert plain(given)["a"] is not inner
    assert type(inner[0]) is np.int64
    array, objects = np.ones(2), np.array(None, dtype=object)
    assert plain(array) is array
    assert plain(objects) is objects


@pytest.mark.parametrize(
    ("value", "default", "expected"),
    [
        (1, 0.5, 1.0),
        (np.int64(1), 0.5, 1.0),
        (2.0, 1, 2),
        (2.5, 1, 2.5),
        (True, 0.5, True),
        (1, False, 1),
        (1.0, None, 1.0),
        ("a", 0.5, "a"),
        (10**400, 0.5, math.inf),
    ],
)
def test_a_number_has_the_type_of_the_default(value, default, expected):
    made = like(value, default)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    "value", [1, 0.5, Fraction(1, 2), Decimal("0.5"), np.float16(1)]
)
def test_numbers_of_any_kind_lie_in_an_interval(value):
    assert Number(Real, 0, 1, closed="right").is_satisfied_by(value)
    assert not Number(Real, 1, 2, closed="neither").is_satisfied_by(value)


def test_what_lies_in_no_interval():
    counts, shares = (Number(kind, 0, None, closed="left") for kind in (Integral, Real))
    assert counts.is_satisfied_by(np.int8(3))
    assert not counts.is_satisfied_by(3.0)
    assert not counts.is_satisfied_by(-1)
    for value in (math.nan, -0.1, "1", None, np.ones(2)):
        assert not shares.is_satisfied_by(value)
    assert not Number(Real, 0, None, closed="neither").is_satisfied_by(10**400)
