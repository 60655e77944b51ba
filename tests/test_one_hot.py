"""One-hot y: classes under a categorical loss or a softmax output, labels elsewhere."""

import functools
import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.preprocessing import scale

from skann import MLPKerasClassifier

IRIS = load_iris()
ORDER = np.random.default_rng(0).permutation(150)
X, CODES = scale(IRIS.data)[ORDER], IRIS.target[ORDER]
ONE_HOT = np.eye(3, dtype=int)[CODES]
TWO = np.eye(2, dtype=int)[(X[:, 2] > 0).astype(int)]
LABELS = np.c_[ONE_HOT[:, 0], X[:, 1] > 0, np.ones(150)].astype(int)


def classifier(model=None, **params):
    fast = {"epochs": 15, "random_state": 0}
    if model is None:
        fast["hidden_layer_sizes"] = [8]
    if model is not logits and not isinstance(model, functools.partial):
        fast["learning_rate"] = 0.02  # The others are compiled with it.
    return MLPKerasClassifier(model, **{**fast, **params})


def network(*last, compiled_for=None, units=3):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(8, activation="relu"), *last]
    )
    if compiled_for is not None:
        model.compile(loss=compiled_for, optimizer=keras.optimizers.Adam(0.02))
    return model


def softmax(n_outputs, compiled_for=None):
    return network(layers.Dense(n_outputs, "softmax"), compiled_for=compiled_for)


def softmax_layer(n_outputs):
    return network(layers.Dense(n_outputs), layers.Softmax())


def softmax_activation(n_outputs):
    return network(layers.Dense(n_outputs), layers.Activation("softmax"))


def logits(n_outputs):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    return network(layers.Dense(n_outputs), compiled_for=loss)


def sigmoid(n_outputs, compiled_for=None):
    return network(layers.Dense(n_outputs, "sigmoid"), compiled_for=compiled_for)


def compiled(build, loss):
    return functools.partial(build, compiled_for=loss)


FOR_CLASSES = {
    "loss": {"loss": "categorical_crossentropy"},
    "alias": {"loss": "cce"},
    "class": {"loss": keras.losses.CategoricalCrossentropy},
    "object": {"loss": keras.losses.CategoricalFocalCrossentropy()},
    "function": {"loss": keras.losses.categorical_crossentropy},
    "codes": {"loss": "sparse_categorical_crossentropy"},
    "logits": {
        "loss": "categorical_crossentropy",
        "output_activation": "linear",
        "loss_kwargs": {"from_logits": True},
    },
    "softmax": {"output_activation": "softmax"},
    "softmax function": {"output_activation": keras.activations.softmax},
    "softmax, other loss": {"output_activation": "softmax", "loss": "mse"},
    "network": {"model": softmax},
    "ready": {"model": softmax(3)},
    "softmax layer": {"model": softmax_layer},
    "softmax activation": {"model": softmax_activation},
    "network's loss": {"model": compiled(softmax, "categorical_crossentropy")},
    "network's logits": {"model": logits},
    "network's codes": {"model": compiled(softmax, "sparse_categorical_crossentropy")},
    "network's binary loss": {"model": compiled(softmax, "binary_crossentropy")},
    "sigmoid, but": {"model": compiled(sigmoid, "categorical_crossentropy")},
}
FOR_LABELS = {
    "default": {},
    "loss": {"loss": "binary_crossentropy"},
    "focal": {"loss": "binary_focal_crossentropy"},
    "sigmoid": {"output_activation": "sigmoid"},
    "network": {"model": sigmoid},
    "network's loss": {"model": compiled(sigmoid, "binary_crossentropy")},
}
for_classes = pytest.mark.parametrize(
    "params", FOR_CLASSES.values(), ids=FOR_CLASSES.keys()
)


@for_classes
def test_one_hot_rows_are_classes(params):
    model = classifier(**params).fit(X, ONE_HOT)
    proba, predicted = model.predict_proba(X), model.predict(X)
    assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
    assert_array_equal(predicted, np.eye(3, dtype=int)[proba.argmax(axis=1)])
    assert model.score(X, ONE_HOT) == np.mean(proba.argmax(axis=1) == CODES) > 0.8
    assert_array_equal(model.classes_, [0, 1, 2])


@for_classes
def test_it_is_the_network_of_the_labels(params):
    one_hot = classifier(**params).fit(X, ONE_HOT)
    labels = classifier(**params).fit(X, CODES)
    for a, b in zip(
        one_hot.model_.get_weights(), labels.model_.get_weights(), strict=True
    ):
        assert_array_equal(a, b)
    assert one_hot.history_ == labels.history_


@pytest.mark.parametrize("params", FOR_LABELS.values(), ids=FOR_LABELS.keys())
@pytest.mark.parametrize("y", [ONE_HOT, LABELS], ids=["one-hot", "labels"])
def test_other_losses_are_for_labels_side_by_side(params, y):
    model = classifier(**params).fit(X, y)
    proba = model.predict_proba(X)
    assert model.model_.layers[-1].activation is keras.activations.sigmoid
    assert np.abs(proba.sum(axis=1) - 1).max() > 0.01
    assert_array_equal(model.predict(X), proba > 0.5)


@for_classes
@pytest.mark.parametrize("y", [LABELS, 0 * LABELS], ids=["several", "none"])
def test_rows_of_several_classes_are_refused(params, y):
    model = classifier(**params)
    with pytest.raises(ValueError, match=r"rows that do not sum to 1.*sigmoid"):
        model.fit(X, y)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("y", [ONE_HOT - 0.5, 1 + ONE_HOT, 2 * ONE_HOT - 1], ids=str)
@pytest.mark.parametrize("params", [{}, FOR_CLASSES["loss"]], ids=["labels", "classes"])
def test_other_numbers_are_no_indicators(params, y):
    with pytest.raises(ValueError, match=r"must hold 0 and 1|Unknown label type"):
        classifier(**params).fit(X, y)


@pytest.mark.parametrize(
    "make",
    [
        np.ndarray.tolist,
        lambda y: y.astype(bool),
        lambda y: y.astype("float32"),
        lambda y: y.astype("uint8"),
        lambda y: pd.DataFrame(y, columns=["a", "b", "c"]),
        lambda y: pd.get_dummies(pd.Series(y.argmax(axis=1))),
    ],
)
def test_kinds_of_one_hot(make):
    params = FOR_CLASSES["loss"]
    expected = classifier(**params).fit(X, ONE_HOT).predict_proba(X)
    model = classifier(**params).fit(X, make(ONE_HOT))
    assert_array_equal(model.predict_proba(X), expected)
    assert model.score(X, make(ONE_HOT)) > 0.8


@pytest.mark.parametrize(
    "params", [FOR_CLASSES["loss"], FOR_CLASSES["softmax"], FOR_CLASSES["network"]]
)
def test_two_columns(params):
    model = classifier(**params).fit(X, TWO)
    assert_allclose(model.predict_proba(X).sum(axis=1), 1.0, rtol=1e-12)
    assert model.predict(X).shape == (150, 2)
    assert model.score(X, TWO) > 0.9


def test_class_weights_are_by_column():
    params = {**FOR_CLASSES["loss"], "epochs": 3}
    for weight in ({0: 5.0, 2: 0.5}, "balanced"):
        y = np.r_[ONE_HOT, ONE_HOT[CODES == 1]]
        rows = np.r_[X, X[CODES == 1]]
        a = classifier(class_weight=weight, **params).fit(rows, y)
        b = classifier(class_weight=weight, **params).fit(rows, y.argmax(axis=1))
        assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    unweighted = classifier(**params).fit(rows, y)
    assert not np.array_equal(a.predict_proba(X), unweighted.predict_proba(X))
    with pytest.raises(ValueError, match=r"class_weight names \[7\]"):
        classifier(class_weight={7: 1.0}, **params).fit(X, ONE_HOT)


@pytest.mark.parametrize("name", ["loss", "softmax", "network", "sigmoid, but"])
def test_held_out_rows_are_stratified(name):
    params = FOR_CLASSES[name]
    model = classifier(**params, validation_fraction=0.2, epochs=2)
    labels = clone(model).fit(X, CODES).history_["val_loss"]
    assert model.fit(X, ONE_HOT).history_["val_loss"] == labels


@pytest.mark.parametrize("params", [FOR_CLASSES["loss"], FOR_CLASSES["network"]])
def test_the_first_fit_decides_what_columns_are(params):
    """Neither batch, validation set nor fold can make classes of labels, or reverse."""
    model = classifier(**params)
    model.partial_fit(X[:5], ONE_HOT[:5]).partial_fit(X[5:6], ONE_HOT[5:6])
    assert_array_equal(model.predict(X).sum(axis=1), np.ones(150))
    with pytest.raises(ValueError, match="do not sum to 1"):
        model.partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="do not sum to 1"):
        model.fit(X, ONE_HOT, X_val=X, y_val=LABELS)
    with pytest.raises(ValueError, match="shape"):
        model.partial_fit(X, CODES)
    several = classifier().partial_fit(X, LABELS).partial_fit(X, ONE_HOT)
    assert several._kind == "multilabel-indicator"
    several.fit(X, LABELS, X_val=X, y_val=ONE_HOT)
    assert several._kind == "multilabel-indicator"


def test_cross_validation_search_and_pickles():
    model = classifier(**FOR_CLASSES["loss"])
    assert cross_val_score(model, X, ONE_HOT, cv=2).min() > 0.75
    proba = cross_val_predict(model, X, ONE_HOT, cv=2, method="predict_proba")
    assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
    search = GridSearchCV(model, {"loss": ["cce", "binary_crossentropy"]}, cv=2)
    assert search.fit(X, ONE_HOT).best_params_ == {"loss": "cce"}
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    assert_array_equal(again.predict(X), search.predict(X))
    again.partial_fit(X, ONE_HOT)


def test_a_fold_without_a_class_keeps_its_column():
    some = CODES != 2
    model = classifier(**FOR_CLASSES["loss"]).fit(X[some], ONE_HOT[some])
    assert model.predict_proba(X).shape == (150, 3)
    assert model.score(X[some], ONE_HOT[some]) > 0.9


@pytest.mark.parametrize("loss", ["categorical_crossentropy", None])
def test_classes_of_columns_are_their_numbers(loss):
    model = classifier(loss=loss)
    for y in (ONE_HOT, ONE_HOT.astype(float)):
        model.partial_fit(X, y, classes=[0, 1, 2])
    for classes in (["a", "b", "c"], [0, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match=r"classes=.* must be None or \[0, 1, 2\]"):
            classifier(loss=loss).partial_fit(X, ONE_HOT, classes=classes)
