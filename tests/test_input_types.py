"""Inputs of a network are fed the type that they declare, without a detour."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy import sparse

from skann import MLPKerasRegressor

# Two numbers that are one in float32.
PAIR = 2**24, 2**24 + 1


class Parity(layers.Layer):
    """1 for odd numbers, which of floats it cannot know."""

    def call(self, x):
        return keras.ops.cast(keras.ops.mod(x, 2), "float32")


def build_parity(dtype="int64", input_shape=(1,)):
    model = keras.Sequential(
        [layers.Input(input_shape, dtype=dtype), Parity(), layers.Dense(1)]
    )
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.3))
    return model


def numbers():
    X = np.array([[PAIR[0]], [PAIR[1]]] * 20)
    return X, (X[:, 0] % 2).astype(float)


FORMS = {
    "array": lambda X, path: X,
    "float64": lambda X, path: X.astype(float),
    "sparse": lambda X, path: sparse.csr_array(X),
    "memory-mapped": lambda X, path: mapped(X, path),
}


def mapped(X, path):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["int64", "uint32"])
def test_numbers_beyond_float32_stay_apart(form, dtype, tmp_path):
    X, y = numbers()
    given = FORMS[form](X, tmp_path)
    model = MLPKerasRegressor(
        build_parity,
        model_kwargs={"dtype": dtype},
        epochs=20,
        random_state=0,
        normalize_y=False,
    )
    model.fit(given, y, X_val=given, y_val=y)
    np.testing.assert_allclose(model.predict(given), y, atol=0.1)
    assert model.history_["val_loss"][-1] < 0.01


@pytest.mark.parametrize(
    "how", [{"engine": "keras"}, {"epochs": 8}, {"epochs": 1000, "batch_size": 20}]
)
def test_every_way_to_train_has_the_same_inputs(how):
    X, y = numbers()
    model = MLPKerasRegressor(
        build_parity, random_state=0, normalize_y=False, **{"epochs": 8, **how}
    ).fit(X, y)
    by_keras = keras.models.clone_model(model.model_)
    by_keras.set_weights(model.model_.get_weights())
    expected = by_keras.predict(X, verbose=0)[:, 0]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-6)
    assert np.ptp(expected) > 0.5


def build_embedding(input_shape):
    return keras.Sequential(
        [
            layers.Input(input_shape, dtype="int32"),
            layers.Embedding(5, 3),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )


def build_dense_of_integers(input_shape):
    return keras.Sequential(
        [layers.Input(input_shape, dtype="uint8"), layers.Dense(3), layers.Dense(1)]
    )


@pytest.mark.parametrize("build", [build_embedding, build_dense_of_integers])
@pytest.mark.parametrize("n_rows", [64, 70])
def test_integers_train_as_by_keras(build, n_rows):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 5, (n_rows, 4)), rng.normal(size=n_rows)
    how = {"epochs": 2, "shuffle": False, "random_state": 0}
    model = MLPKerasRegressor(build, **how).fit(X, y)
    expected = MLPKerasRegressor(build, engine="keras", **how).fit(X, y)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=2e-5)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=2e-5)


@pytest.mark.parametrize(
    ("dtype", "X", "words"),
    [
        ("int64", [[0.5], [1.0]], "whole numbers: the network takes int64"),
        ("int32", [[2.0**31], [1.0]], "too large for dtype..int32"),
        ("uint8", [[-1], [1]], "too large for dtype..uint8"),
        ("bool", [[2], [1]], "too large for dtype..bool"),
        ("float16", [[1e5], [1.0]], "too large for dtype..float16"),
        ("string", [[1], [2]], "inputs of type 'string', and X holds numbers"),
    ],
)
def test_what_the_type_cannot_hold_is_an_error(dtype, X, words):
    def build(input_shape):
        inputs = layers.Input(input_shape, dtype=dtype)
        outputs = layers.Lambda(keras.ops.zeros_like, dtype="float32")(inputs)
        return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(outputs)))

    with pytest.raises(ValueError, match=words):
        MLPKerasRegressor(build, epochs=1).fit(np.array(X), [0.0, 1.0])


def test_what_the_type_cannot_hold_is_no_row_to_predict():
    X = np.array([[0, 1], [2, 3]] * 5)
    model = MLPKerasRegressor(build_embedding, epochs=1, random_state=0)
    model.fit(X, [0.0, 1.0] * 5)
    with pytest.raises(ValueError, match="whole numbers"):
        model.predict(X + 0.5)
    assert model.predict(X + 0.0).shape == (10,)


class Looks(keras.Model):
    """A class of the user's own, whose input declares nothing."""

    def __init__(self):
        super().__init__()
        self.hashed = layers.Hashing(64)
        self.table = layers.Embedding(64, 4)
        self.top = keras.Sequential([layers.Flatten(), layers.Dense(1)])

    def call(self, x):
        return self.top(self.table(self.hashed(keras.ops.cast(x, "int64"))))


class Sums(keras.Model):
    def __init__(self):
        super().__init__()
        self.top = layers.Dense(1)

    def call(self, x):
        return self.top(x)


def declared():
    inputs = keras.Input((1,), dtype="int64")
    return keras.Model(inputs, Looks()(inputs))


UNDECLARED = {
    "subclassed": Looks,
    "floats": lambda: keras.Sequential(
        [layers.Input((1,)), layers.Embedding(3, 2), layers.Flatten(), layers.Dense(1)]
    ),
}


@pytest.mark.parametrize("form", ["array", "memory-mapped", "sparse"])
@pytest.mark.parametrize("build", UNDECLARED.values(), ids=UNDECLARED)
def test_categories_that_would_merge_are_an_error(build, form, tmp_path):
    X, y = numbers()
    model = MLPKerasRegressor(build, epochs=1, random_state=0)
    with pytest.raises(ValueError, match=r"Input X has integers.*dtype='int64'"):
        model.fit(FORMS[form](X, tmp_path), y)
    model.fit(np.minimum(X, 2), y)
    with pytest.raises(ValueError, match=r"Input X has integers.*dtype='int64'"):
        model.predict(FORMS[form](X, tmp_path))


@pytest.mark.parametrize(
    ("build", "kind"), [(declared, "int64"), (Sums, "int64"), (Looks, "float64")]
)
def test_other_large_numbers_are_taken(build, kind):
    X, y = numbers()
    params = {"epochs": 1, "random_state": 0, "learning_rate": 1e-9}
    model = MLPKerasRegressor(build, normalize_y=False, **params)
    outputs = model.fit(X.astype(kind), y).predict(X.astype(kind))
    assert len(np.unique(outputs)) == (2 if build is declared else 1)
