"""A classifier's y to what the loss takes, outputs back to labels, classes' weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skann._data.classes import (
    ClassificationTarget,
    are_one_hot,
    check_classification_target,
    check_one_hot,
    check_probabilities,
    class_weights,
    classification_kind,
    is_for_classes,
    label_codes,
)
from skann._network.problem import Head
from skann.exceptions import ModelError

ABC = np.array(["a", "b", "c"])
INDICATOR = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])


def target(kind, loss, n_units, activation, classes=ABC, one_hot=False, **more):
    head = Head(loss, more.pop("logits", False), n_units, activation, loss, **more)
    return ClassificationTarget.learn(kind, classes, one_hot, head)


# -- there and back -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "loss", "n_units", "coding", "encoded"),
    [
        ("binary", "binary_crossentropy", 1, "column", [[1.0], [0.0]]),
        ("multiclass", "sparse_categorical_crossentropy", 3, "codes", [[1], [0]]),
        (
            "multiclass",
            "categorical_crossentropy",
            3,
            "one-hot",
            [[0, 1, 0], [1, 0, 0]],
        ),
    ],
)
def test_labels_are_encoded_as_the_loss_takes_them(
    kind, loss, n_units, coding, encoded
):
    classes = ABC[:2] if kind == "binary" else ABC
    learned = target(kind, loss, n_units, "softmax", classes)
    assert learned.coding == coding
    made = learned.encode(np.array(["b", "a"]))
    assert_array_equal(made, encoded)
    assert made.dtype == (np.int32 if coding == "codes" else np.float64)


def test_columns_are_encoded_by_what_they_are():
    several = target("multilabel-indicator", "binary_crossentropy", 3, "sigmoid")
    assert_array_equal(several.encode(INDICATOR), INDICATOR.astype(float))
    one = target(
        "multiclass", "sparse_categorical_crossentropy", 3, "softmax", one_hot=True
    )
    assert_array_equal(one.encode(np.eye(3)[[2, 0]]), [[2], [0]])
    assert_array_equal(one.decode(np.eye(3)[[2, 0]]), np.eye(3)[[2, 0]])


@pytest.mark.parametrize(
    ("kind", "loss", "activation", "how", "link"),
    [
        ("multiclass", "categorical_crossentropy", "softmax", {}, "none"),
        (
            "multiclass",
            "categorical_crossentropy",
            "linear",
            {"logits": True},
            "softmax",
        ),
        ("binary", "binary_crossentropy", "linear", {"logits": True}, "sigmoid"),
        ("binary", "binary_crossentropy", "sigmoid", {"logits": True}, "none"),
        ("binary", "hinge", "linear", {}, "margin"),
        ("multiclass", "categorical_hinge", "linear", {}, "difference"),
        ("binary", "mean_squared_error", "linear", {}, "clip"),
        ("binary", "binary_crossentropy", "unknown", {}, "none"),
    ],
)
def test_what_makes_probabilities_of_outputs(kind, loss, activation, how, link):
    n_units = 1 if kind == "binary" else 3
    classes = ABC[:n_units] if kind == "multiclass" else ABC[:2]
    assert target(kind, loss, n_units, activation, classes, **how).link == link


@pytest.mark.parametrize(
    ("link", "outputs", "probabilities"),
    [
        ("none", [[0.25], [1.0]], [[0.75, 0.25], [0.0, 1.0]]),
        ("sigmoid", [[0.0], [1e4], [-1e4]], [[0.5, 0.5], [0, 1], [1, 0]]),
        ("margin", [[0.0], [1.0], [-3.0]], [[0.5, 0.5], [0, 1], [1, 0]]),
        ("clip", [[0.25], [2.0], [-1.0]], [[0.75, 0.25], [0, 1], [1, 0]]),
        ("softmax", [[0.0, 0.0], [1e4, 0.0]], [[0.5, 0.5], [1, 0]]),
        ("none", [[1.0, 3.0], [0.0, 0.0]], [[0.25, 0.75], [0.5, 0.5]]),
        ("difference", [[7.0, 7.0], [9.0, 7.0]], [[0.5, 0.5], [1, 0]]),
    ],
)
def test_probabilities(link, outputs, probabilities):
    coding = "column" if len(outputs[0]) == 1 else "one-hot"
    made = ClassificationTarget("binary", ABC[:2], False, coding, link)
    assert_allclose(made.probabilities(np.array(outputs)), probabilities, atol=1e-12)


@pytest.mark.parametrize("link", ["margin", "difference", "clip", "softmax"])
@pytest.mark.parametrize("shift", [-1e3, -2.0, 0.0, 2.0, 1e3])
def test_the_largest_output_is_the_likeliest_class(link, shift):
    outputs = np.random.default_rng(0).normal(size=(50, 3)) + shift
    made = ClassificationTarget("multiclass", ABC, False, "one-hot", link)
    probabilities = made.probabilities(outputs)
    assert_allclose(probabilities.sum(axis=1), 1.0)
    best = outputs.argmax(axis=1)[:, None]
    assert np.all(np.take_along_axis(probabilities, best, 1).T >= probabilities.T)
    assert_array_equal(made.decode(outputs), ABC[best.ravel()])


def test_labels_side_by_side_are_independent():
    several = target("multilabel-indicator", "binary_crossentropy", 3, "sigmoid")
    outputs = np.array([[0.9, 0.9, 0.1], [0.5, 0.51, 0.0]])
    assert_array_equal(several.probabilities(outputs), outputs)
    assert_array_equal(several.decode(outputs), [[1, 1, 0], [0, 1, 0]])


def test_no_probability_is_made_up_of_nan():
    made = ClassificationTarget("binary", ABC[:2], False, "column", "sigmoid")
    with pytest.raises(ValueError, match="NaN for 1 of 2 rows"):
        made.probabilities(np.array([[np.nan], [0.0]]))


@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy"])
def test_a_cross_entropy_takes_probabilities(loss, activation):
    with pytest.raises(ModelError, match=f"{loss} takes probabilities.*'{activation}'"):
        check_probabilities(loss, activation)
    check_probabilities("mean_squared_error", activation)
    check_probabilities(loss, "softmax")


@pytest.mark.parametrize(
    ("loss", "more"),
    [("binary_focal_crossentropy", {}), ("binary_crossentropy", {"is_cast": True})],
)
def test_logits_that_are_none_are_an_error(loss, more):
    with pytest.raises(ModelError, match="takes logits, from_logits=True"):
        target("binary", loss, 1, "sigmoid", ABC[:2], logits=True, **more)


# -- what y is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "kind", "classes"),
    [
        (["b", "a", "b"], "binary", ["a", "b"]),
        ([3, 1, 2], "multiclass", [1, 2, 3]),
        ([True, False], "binary", [False, True]),
        (INDICATOR, "multilabel-indicator", [0, 1, 2]),
    ],
)
def test_the_kind_of_a_target_and_its_classes(y, kind, classes):
    found = classification_kind(np.array(y))
    assert found[0] == kind
    assert_array_equal(found[1], classes)


def test_classes_may_be_more_than_y_has():
    kind, classes = classification_kind(np.array(["a", "a"]), classes=["c", "a", "b"])
    assert kind == "multiclass"
    assert_array_equal(classes, ABC)


@pytest.mark.parametrize(
    ("y", "classes", "match"),
    [
        ([0.5, 1.5], None, "Unknown label type: continuous.*MLPKerasRegressor"),
        ([[1, 2], [3, 0]], None, "multiclass-multioutput.*MultiOutputClassifier"),
        (["a", "a"], None, "at least two classes.*'a'"),
        (["a", "d"], ABC, r"labels \['d'\] that are not in classes"),
        (INDICATOR, ["x", "y", "z"], r"must be None or \[0, 1, 2\]"),
    ],
)
def test_what_is_no_target_of_a_classifier(y, classes, match):
    with pytest.raises(ValueError, match=match):
        classification_kind(np.array(y), classes)


def test_rows_of_one_class_each():
    assert are_one_hot(np.eye(3))
    assert not are_one_hot(INDICATOR)
    assert not are_one_hot(np.ones(3))
    check_one_hot(np.eye(3))
    with pytest.raises(ValueError, match="y has 2 rows that do not sum to 1"):
        check_one_hot(INDICATOR)


@pytest.mark.parametrize(
    ("loss", "activation", "expected"),
    [
        ("categorical_crossentropy", None, True),
        ("sparse_categorical_crossentropy", "sigmoid", True),
        ("mean_squared_error", "softmax", True),
        ("binary_crossentropy", "sigmoid", False),
        ("", None, False),
    ],
)
def test_what_gives_one_class_for_each_row(loss, activation, expected):
    assert is_for_classes(loss, activation) == expected


@pytest.mark.parametrize(
    ("y", "kind", "one_hot", "match"),
    [
        (["a", "d"], "multiclass", False, r"labels \['d'\] that were not seen before"),
        ([[1, 2, 0]], "multilabel-indicator", False, "0-1 indicator matrix"),
        (INDICATOR, "multiclass", True, "2 rows that do not sum to 1"),
    ],
)
def test_a_target_of_another_kind_than_the_first(y, kind, one_hot, match):
    with pytest.raises(ValueError, match=match):
        check_classification_target(np.array(y), kind, ABC, one_hot)
    check_classification_target(ABC, "multiclass", ABC, False)
    check_classification_target(INDICATOR, "multilabel-indicator", ABC, False)
    check_classification_target(np.eye(3, dtype=int), "multiclass", ABC, True)


def test_codes_are_positions_among_the_classes():
    assert_array_equal(label_codes(["c", "a", "c"], ABC), [2, 0, 2])
    with pytest.raises(ValueError, match=r"\['0' 'z'\] that were not seen before"):
        label_codes(["z", "0", "a"], ABC)
    with pytest.raises(ValueError, match="labels of another type"):
        label_codes(np.array([1, 2], dtype=object), ABC.astype(object))


# -- weights ------------------------------------------------------------------------


def test_weights_of_classes_are_1_on_the_average():
    y = np.array(["a", "a", "b", "c"])
    assert class_weights(None, y, ABC) is None
    assert_allclose(class_weights({"a": 4.0}, y, ABC), [2.0, 2.0, 0.5, 0.5])
    assert_allclose(class_weights({"a": 4e300, "b": 0}, y, ABC)[:3], [3.0, 3.0, 0.0])


def test_balanced_weights_give_each_class_the_same_total():
    y, sample_weight = np.array(["a", "a", "a", "b"]), np.array([1.0, 1.0, 2.0, 4.0])
    weights = class_weights("balanced", y, ABC)
    assert weights[:3].sum() == pytest.approx(weights[3])
    weights = class_weights("balanced", y, ABC, sample_weight) * sample_weight
    assert weights[:3].sum() == pytest.approx(weights[3])


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"d": 1.0}, r"class_weight names \['d'\], which are not among"),
        ({("a", "b", "c"): 1.0}, r"class_weight names \[\('a', 'b', 'c'\)\]"),
        ({"a": -1.0}, "finite numbers from 0; got -1.0 for the class 'a'"),
        ({"a": np.inf}, "finite numbers from 0; got inf"),
        ({"a": "1"}, "finite numbers from 0; got '1'"),
        ({"a": 0, "b": 0, "c": 0}, "leaves no row any weight"),
    ],
)
def test_bad_weights_of_classes(given, match):
    with pytest.raises(ValueError, match=match):
        class_weights(given, ABC, ABC)


def test_labels_side_by_side_have_no_weights():
    with pytest.raises(ValueError, match="not supported for multilabel"):
        class_weights("balanced", INDICATOR, np.arange(3))
