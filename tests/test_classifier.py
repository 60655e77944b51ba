"""MLPKerasClassifier: labels, probabilities, class weights, images."""

import keras
import numpy as np
import pytest
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.metrics import recall_score
from sklearn.preprocessing import scale

from skann import MLPKerasClassifier

QUICK = {"n_hidden": 1, "n_neurons": 8, "learning_rate": 0.01, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return scale(X), y


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "labels",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array([3, 10, -7]),
        np.array(["a", "b", "c"], dtype=object),
        np.array([0.0, 1.0, 2.0]),
    ],
    ids=["str", "ints with gaps", "object", "float"],
)
def test_labels_of_any_type(iris, labels, n_classes):
    X, y = iris
    X, y = X[y < n_classes], labels[y[y < n_classes]]
    model = MLPKerasClassifier(**QUICK, epochs=30).fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    predicted = model.predict(X)
    assert predicted.dtype == model.classes_.dtype
    assert np.mean(predicted == y) == model.score(X, y) > 0.9
    probability = model.predict_proba(X)
    assert probability.shape == (len(X), n_classes)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.classes_[probability.argmax(axis=1)], predicted)


def test_bool_labels(iris):
    X, y = iris
    model = MLPKerasClassifier(**QUICK, epochs=30).fit(X, y == 0)
    assert model.predict(X).dtype == bool
    assert model.score(X, y == 0) == 1


def test_multilabel_probabilities_are_independent():
    X, Y = make_multilabel_classification(300, 10, n_classes=4, random_state=0)
    model = MLPKerasClassifier(**QUICK, epochs=50).fit(scale(X), Y)
    probability = model.predict_proba(scale(X))
    assert probability.shape == Y.shape
    assert np.ptp(probability.sum(axis=1)) > 1
    np.testing.assert_array_equal(model.predict(scale(X)), probability > 0.5)
    assert np.mean(model.predict(scale(X)) == Y) > 0.8


@pytest.mark.parametrize(
    ("loss", "n_units", "activation"),
    [
        ("categorical_crossentropy", 3, "softmax"),
        ("categorical_focal_crossentropy", 3, "softmax"),
        ("kl_divergence", 3, "softmax"),
        ("mse", 3, "sigmoid"),
        ("categorical_hinge", 3, "tanh"),
        pytest.param(
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            3,
            None,
            id="logits",
        ),
    ],
)
def test_losses_for_several_classes(iris, loss, n_units, activation):
    X, y = iris
    model = MLPKerasClassifier(
        **QUICK, loss=loss, output_activation=activation or "linear", epochs=50
    ).fit(X, y)
    assert model.score(X, y) > 0.85
    probability = model.predict_proba(X)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    assert probability.min() >= 0


@pytest.mark.parametrize("loss", ["hinge", "binary_focal_crossentropy", "mse"])
def test_losses_for_two_classes(iris, loss):
    X, y = iris
    y = y == 2
    activation = "tanh" if loss == "hinge" else "sigmoid"
    model = MLPKerasClassifier(
        **QUICK, loss=loss, output_activation=activation, epochs=50
    ).fit(X, y)
    assert model.score(X, y) > 0.9


def two_units(input_shape):
    layers = [keras.Input(input_shape), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
    return model


def test_two_units_for_two_classes(iris):
    X, y = iris
    model = MLPKerasClassifier(two_units, random_state=0).fit(X, y == 0)
    assert model.predict_proba(X).shape == (len(X), 2)
    assert model.score(X, y == 0) > 0.9


def test_class_weights_by_the_users_labels(iris):
    X, y = iris
    names = np.array(["a", "b", "c"])[y]
    plain = MLPKerasClassifier(**QUICK, epochs=5)
    heavy = MLPKerasClassifier(**QUICK, epochs=5, class_weight={"b": 50})
    recall = [
        recall_score(names, model.fit(X, names).predict(X), labels=["b"], average=None)
        for model in (plain, heavy)
    ]
    assert recall[1] > recall[0]
    assert recall[1] > 0.95


def test_balanced_is_the_inverse_weighted_frequency_times_sample_weight(iris):
    X, y = iris
    keep = np.r_[0:10, 50:150]
    X, y = X[keep], y[keep]
    given = np.linspace(0.5, 2, len(y))
    balanced = MLPKerasClassifier(**QUICK, epochs=3, class_weight="balanced")
    by_hand = MLPKerasClassifier(**QUICK, epochs=3)
    weight = given * (given.sum() / (3 * np.bincount(y, given)))[y]
    np.testing.assert_allclose(
        balanced.fit(X, y, sample_weight=given).predict_proba(X),
        by_hand.fit(X, y, sample_weight=weight).predict_proba(X),
        rtol=1e-10,
    )


def test_balanced_counts_a_row_of_weight_2_as_two(iris):
    X, y = iris
    weight = 1 + (y == 1) + 2 * (X[:, 0] > 0)
    whole = {"batch_size": 1000, "epochs": 20, "class_weight": "balanced"}
    model = MLPKerasClassifier(**QUICK | whole)
    weighted = model.fit(X, y, sample_weight=weight).predict_proba(X)
    repeated = model.fit(X.repeat(weight, 0), y.repeat(weight)).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-4)


def test_a_column_of_labels_warns_as_scikit_learn_does(iris):
    from sklearn.exceptions import DataConversionWarning

    X, y = iris
    with pytest.warns(DataConversionWarning, match="column-vector"):
        model = MLPKerasClassifier(**QUICK, epochs=1).fit(X, y.reshape(-1, 1))
    assert model.predict(X).shape == y.shape


def test_images_are_flattened(fashion_mnist):
    (X, y), _ = fashion_mnist
    X, y = X[:300] / np.float32(255), y[:300]
    model = MLPKerasClassifier(**{**QUICK, "n_neurons": 30}, epochs=10).fit(X, y)
    assert X.shape == (300, 28, 28)
    assert model.score(X, y) > 0.6
    with pytest.raises(ValueError, match=r"rows of shape \(28, 27\)"):
        model.predict(X[:, :, :27])


@pytest.mark.slow
def test_fashion_mnist_reaches_88_percent(fashion_mnist):
    (X, y), (X_test, y_test) = fashion_mnist
    model = MLPKerasClassifier(
        hidden_layer_sizes=(300, 100), epochs=15, random_state=42
    )
    model.fit(X / np.float32(255), y)
    assert model.score(X_test / np.float32(255), y_test) >= 0.88
