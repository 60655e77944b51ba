"""The history of fits, the best of their epochs, and what is told of divergence."""

import numpy as np
import pytest
from numpy.testing import assert_equal

from skann._training.history import best_epoch, divergence_text, joined

NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("before", "new", "expected"),
    [
        ({"loss": []}, {"loss": [1.0]}, {"loss": [1.0]}),
        ({"loss": [3.0, 2.0]}, {"loss": [1.0]}, {"loss": [3.0, 2.0, 1.0]}),
        ({"loss": [3.0]}, {}, {"loss": [3.0]}),
        # A validation set that came later, and one that went.
        (
            {"loss": [3.0, 2.0]},
            {"loss": [1.0], "val_loss": [5.0]},
            {"loss": [3.0, 2.0, 1.0], "val_loss": [NAN, NAN, 5.0]},
        ),
        (
            {"loss": [3.0], "val_loss": [5.0]},
            {"loss": [2.0, 1.0]},
            {"loss": [3.0, 2.0, 1.0], "val_loss": [5.0, NAN, NAN]},
        ),
    ],
)
def test_a_history_goes_on_behind_that_before(before, new, expected):
    told = {name: list(values) for name, values in before.items()}
    assert_equal(joined(before, new), expected)
    assert before == told, "the history before is somebody else's"


def test_names_stay_in_their_order():
    before = {"loss": [1.0], "val_loss": [1.0]}
    assert list(joined(before, {"val_loss": [1.0], "loss": [1.0], "mae": [1.0]})) == [
        *("loss", "val_loss", "mae")
    ]


@pytest.mark.parametrize(
    ("values", "least", "greatest"),
    [
        ([3.0, 1.0, 2.0], 1, 0),
        ([1.0, 2.0, 1.0, 2.0], 0, 1),  # The first of equals.
        ([NAN, 2.0, 1.0, 3.0], 2, 3),
        ([-INF, 2.0, 1.0], 2, 1),  # Infinite is never the best.
        ([INF, 1.0, 2.0], 1, 2),
        ([NAN, NAN], 0, 0),
        ([7.0], 0, 0),
        ([], None, None),
    ],
)
def test_the_best_epoch(values, least, greatest):
    assert best_epoch(values, "min") == least
    assert best_epoch(values, "max") == greatest
    assert type(best_epoch([2.0, 1.0], "min")) is int


def test_divergence_is_told_with_what_to_do():
    text = divergence_text(3, True, 0.012345678, False)
    assert "in epoch 4." in text  # As people count.
    assert "(it is 0.0123457)" in text
    assert "clipnorm" in text
    assert "StandardScaler" in text


@pytest.mark.parametrize("was_finite", [False, True])
@pytest.mark.parametrize("has_unit", [False, True])
def test_what_is_told_depends_on_the_fit(was_finite, has_unit):
    text = divergence_text(0, was_finite, 1.0, has_unit)
    assert ("were kept" in text) == was_finite
    assert ("No epoch of this fit" in text) != was_finite
    assert ("normalize_y='auto'" in text) == has_unit
    assert text.endswith(".")
