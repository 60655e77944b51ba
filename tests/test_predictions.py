"""What predictions are made of, and when there are none."""

import keras
import numpy as np
import pytest
from keras import layers
from numpy.testing import assert_array_equal

from skann import MLPKerasClassifier

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
TWO = (X[:, 0] > 0).astype(int)
THREE = np.digitize(X[:, 1], [-0.4, 0.4])
LABELS = np.c_[TWO, X[:, 1] > 0].astype(int)


# -- outputs that are NaN -----------------------------------------------------------

LINKS = {
    "sigmoid": ({}, TWO),
    "softmax": ({}, THREE),
    "labels": ({}, LABELS),
    "two units": ({"output_activation": "softmax"}, TWO),
    "one-hot": ({"loss": "categorical_crossentropy"}, np.eye(3)[THREE]),
    "margins": ({"loss": "hinge"}, TWO),
    "estimates": ({"output_activation": "linear", "loss": "mse"}, THREE),
    "logits": (
        {
            "output_activation": "linear",
            "loss": "sparse_categorical_crossentropy",
            "loss_kwargs": {"from_logits": True},
        },
        THREE,
    ),
    "logit": (
        {
            "output_activation": "linear",
            "loss": "binary_crossentropy",
            "loss_kwargs": {"from_logits": True},
        },
        TWO,
    ),
}


@pytest.mark.parametrize(("params", "y"), LINKS.values(), ids=LINKS.keys())
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_no_class_is_made_up_of_nan(params, y, method):
    model = MLPKerasClassifier(
        hidden_layer_sizes=[4], epochs=1, random_state=0, **params
    ).fit(X, y)
    predict = getattr(model, method)
    assert predict(X).shape[0] == 40
    weights = model.model_.get_weights()
    weights[-1][0] = np.nan
    model.model_.set_weights(weights)
    with pytest.raises(ValueError, match="outputs are NaN for 40 of 40 rows"):
        predict(X)


def nan_for_large_rows(n_outputs):
    rows = keras.Input((3,))
    hidden = layers.Lambda(lambda x: keras.ops.log(5.0 - x))(rows)
    return keras.Model(rows, layers.Dense(n_outputs, "softmax")(hidden))


def test_rows_of_nan_are_counted():
    model = MLPKerasClassifier(nan_for_large_rows, epochs=1, random_state=0)
    model.fit(X, THREE)
    some = X.copy()
    some[[3, 7]] = 6.0
    with pytest.raises(ValueError, match="outputs are NaN for 2 of 40 rows"):
        model.predict_proba(some)
    expected = model.predict_proba(X)
    others = np.delete(np.arange(40), [3, 7])
    np.testing.assert_allclose(
        model.predict_proba(some[others]), expected[others], rtol=1e-6
    )


def test_a_tie_of_margins_is_a_tie():
    model = MLPKerasClassifier(loss="hinge", epochs=1, random_state=0).fit(X, THREE)
    weights = [0 * w for w in model.model_.get_weights()]
    weights[-1] -= 2.0
    model.model_.set_weights(weights)
    assert_array_equal(model.predict_proba(X), np.full((40, 3), 1 / 3))
