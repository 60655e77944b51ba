"""From outputs to classes: logits, margins and estimates, against the network's own."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.preprocessing import scale
from thinned import thinned

from skann import MLPKerasClassifier
from skann.exceptions import ModelError

IRIS = load_iris()
X, THREE = scale(IRIS.data), IRIS.target
TWO, LABELS = THREE == 0, np.eye(3, dtype=int)[THREE]
LABELS[THREE == 2, 0] = 1
ENGINES = pytest.mark.parametrize("engine", ["compiled", "keras"])


def classifier(**params):
    own = {"n_hidden": 1, "n_neurons": 8, "epochs": 30, "random_state": 0}
    return MLPKerasClassifier(**own | {"learning_rate": 0.03} | params)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


LOGITS = {
    "two": (TWO, "binary_crossentropy"),
    "two units": (TWO, "categorical_crossentropy"),
    "three": (THREE, "sparse_categorical_crossentropy"),
    "one-hot": (np.eye(3)[THREE], "categorical_crossentropy"),
    "labels": (LABELS, "binary_crossentropy"),
    "focal": (TWO, "binary_focal_crossentropy"),
    "default": (THREE, None),
    "object": (TWO, keras.losses.BinaryCrossentropy(from_logits=True)),
    "class": (THREE, keras.losses.SparseCategoricalCrossentropy),
}


@pytest.mark.parametrize(
    ("kind", "engine"),
    thinned([(kind, e) for kind in LOGITS for e in ("compiled", "keras")], 3),
)
def test_a_loss_of_logits_has_a_linear_output(kind, engine):
    y, loss = LOGITS[kind]
    ready = isinstance(loss, keras.losses.Loss)
    kwargs = None if ready else {"from_logits": True}
    model = classifier(engine=engine, loss=loss, loss_kwargs=kwargs).fit(X, y)
    assert model.score(X, y) > 0.75
    outputs = model.model_.predict(X, verbose=0)
    assert outputs.min() < 0
    side_by_side = y is LABELS or outputs.shape[1] == 1
    expected = sigmoid(outputs) if side_by_side else softmax(outputs)
    if outputs.shape[1] == 1:
        expected = np.c_[1 - expected, expected]
    assert_allclose(model.predict_proba(X), expected, atol=1e-5)


def network(n_units, activation, loss):
    def build(input_shape):
        rows = keras.Input(input_shape)
        hidden = layers.Dense(8, "tanh")(rows)
        model = keras.Model(rows, layers.Dense(n_units, activation)(hidden))
        model.compile(keras.optimizers.Adam(0.05), loss)
        return model

    return build


BENEATH = {
    "two": (TWO, 1, "sigmoid", keras.losses.BinaryCrossentropy),
    "three": (THREE, 3, "softmax", keras.losses.SparseCategoricalCrossentropy),
    "labels": (LABELS, 3, "sigmoid", keras.losses.BinaryCrossentropy),
}


@pytest.mark.filterwarnings("ignore:.*received `from_logits=True`")
@pytest.mark.parametrize(
    ("case", "own", "engine"),
    thinned(
        [
            (case, own, engine)
            for case in BENEATH
            for own in (True, False)
            for engine in ("compiled", "keras")
        ],
        3,
    ),
)
def test_keras_takes_the_logits_beneath_probabilities(engine, own, case):
    y, n_units, activation, loss = BENEATH[case]
    loss = loss(from_logits=True)
    params = {"loss": loss, "output_activation": activation}
    if not own:
        build_fn = network(n_units, activation, loss)
        plain = dict.fromkeys(["n_hidden", "n_neurons", "learning_rate"])
        params = {"model": build_fn, **plain}
    model = classifier(engine=engine, **params).fit(X, y)
    outputs = model.model_.predict(X, verbose=0)
    expected = outputs if n_units > 1 else np.c_[1 - outputs, outputs]
    assert_allclose(model.predict_proba(X), expected, atol=1e-5)
    assert model.score(X, y) > 0.75


@pytest.mark.filterwarnings("ignore:.*received `from_logits=True`")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", BENEATH.values(), ids=BENEATH.keys())
def test_logits_beneath_are_those_of_a_linear_output(dtype, case):
    y, _, activation, loss = case
    curves = [
        classifier(
            loss=loss(from_logits=True), output_activation=given, dtype=dtype, epochs=3
        )
        .fit(X, y)
        .loss_curve_
        for given in (activation, "linear")
    ]
    assert_allclose(*curves, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("case", BENEATH.values(), ids=BENEATH.keys())
def test_keras_sees_no_logits_beneath_in_another_type(dtype, case):
    y, n_units, activation, loss = case

    def build(input_shape):
        rows = keras.Input(input_shape, dtype="float32")
        outputs = layers.Dense(n_units, activation, dtype=dtype)(rows)
        model = keras.Model(rows, outputs)
        model.compile("adam", loss(from_logits=True))
        return model

    params = {"model": build, "epochs": 1}
    with pytest.raises(ModelError, match=f"takes logits.*{activation}.*another type"):
        MLPKerasClassifier(**params).fit(X, y)


@pytest.mark.parametrize(
    ("y", "loss", "activation"),
    [
        (TWO, "binary_focal_crossentropy", "sigmoid"),
        (THREE, "categorical_focal_crossentropy", "softmax"),
    ],
)
def test_a_focal_loss_takes_no_logits_beneath(y, loss, activation):
    model = classifier(
        loss=loss, loss_kwargs={"from_logits": True}, output_activation=activation
    )
    with pytest.raises(ModelError, match=f"takes logits.*{activation}"):
        model.fit(X, y)


MARGINS = [
    (THREE, "categorical_hinge"),
    (np.eye(3)[THREE], "categorical_hinge"),
    (THREE, "hinge"),
    (THREE, "squared_hinge"),
    (THREE, "mse"),
    (THREE, "mae"),
]


@pytest.mark.parametrize(("y", "loss"), MARGINS)
def test_the_largest_output_is_the_class(y, loss):
    activation = None if "hinge" in loss else "linear"
    model = classifier(loss=loss, output_activation=activation).fit(X, y)
    # Far rows have outputs far outside of what is certain.
    rows = np.r_[X, 10 * X, -10 * X]
    best = model.model_.predict(rows, verbose=0).argmax(axis=1)
    predicted = model.predict(rows)
    assert_array_equal(predicted if y.ndim == 1 else predicted.argmax(axis=1), best)
    probability = model.predict_proba(rows)
    assert_array_equal(probability.argmax(axis=1), best)
    assert_allclose(probability.sum(axis=1), 1, rtol=1e-12)
    assert 0 <= probability.min() <= probability.max() <= 1
