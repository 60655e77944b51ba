"""MLPKerasRegressor: targets, losses, output activations, units of y."""

import keras
import numpy as np
import pandas as pd
import pytest
from names import named
from scipy import sparse
from sklearn.linear_model import PoissonRegressor
from sklearn.preprocessing import scale

from skann import MLPKerasRegressor
from skann.exceptions import ModelError

QUICK = {"n_hidden": 1, "n_neurons": 8, "learning_rate": 0.01, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    return X, X[:, 0] - X[:, 1] ** 2 + 3.0


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)], ids=["1-d", "column"])
def test_predictions_have_the_shape_of_y(data, shape):
    X, y = data
    y = y.reshape(shape)
    predicted = MLPKerasRegressor(**QUICK, epochs=30).fit(X, y).predict(X)
    assert predicted.shape == y.shape
    assert predicted.dtype == np.float64
    assert np.corrcoef(predicted.ravel(), y.ravel())[0, 1] > 0.8


def test_several_targets_each_in_its_own_unit(data):
    X, y = data
    Y = np.column_stack([y, 1e6 * y + 5e6])
    model = MLPKerasRegressor(**QUICK, epochs=30).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.n_outputs_ == 2
    assert model.score(X, Y) > 0.7


def test_dollars_fit_as_well_as_hundreds_of_thousands_of_dollars(data):
    X, y = data
    small = MLPKerasRegressor(**QUICK, epochs=20).fit(X, y)
    large = MLPKerasRegressor(**QUICK, epochs=20).fit(X, 1e5 * y)
    np.testing.assert_allclose(large.predict(X), 1e5 * small.predict(X), rtol=1e-6)
    # Losses are in y's own unit, squared.
    expected = 1e10 * np.array(small.loss_curve_)
    np.testing.assert_allclose(large.loss_curve_, expected, rtol=1e-6)


def test_normalize_y_false_trains_on_y_itself(data):
    X, y = data
    model = MLPKerasRegressor(**QUICK, epochs=1, normalize_y=False).fit(X, y)
    assert model.loss_curve_[0] > np.var(y)  # y's mean is 2: far from the outputs


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [
        ("relu", 0, np.inf),
        ("softplus", 0, np.inf),
        ("exponential", 0, np.inf),
        ("sigmoid", 0, 1),
        ("tanh", -1, 1),
    ],
)
def test_output_activations_bound_the_predictions(data, activation, low, high):
    X, y = data
    if activation in ("sigmoid", "tanh"):
        y = (y - y.min()) / np.ptp(y)
    model = MLPKerasRegressor(**QUICK, epochs=30, output_activation=activation)
    predicted = model.fit(X, y).predict(10 * X)
    assert predicted.min() >= low
    assert predicted.max() <= high
    assert np.ptp(predicted) > 0


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        "mean_absolute_error",
        "Huber",
        "log_cosh",
        keras.losses.MeanSquaredError,
        keras.losses.Huber(delta=0.3),
        keras.losses.mean_squared_error,
    ],
    ids=lambda loss: getattr(loss, "__name__", None) or str(loss)[:5],
)
def test_losses_by_name_class_object_and_function(data, loss):
    X, y = data
    assert MLPKerasRegressor(**QUICK, loss=loss, epochs=30).fit(X, y).score(X, y) > 0.6


@pytest.mark.parametrize(
    ("loss", "output", "engine"),
    [
        ("poisson", None, "auto"),
        ("poisson", None, "keras"),
        ("poisson", "softplus", "auto"),
        (keras.losses.Poisson, None, "auto"),
        (keras.losses.Poisson(), None, "auto"),
    ],
    ids=named,
)
def test_poisson_loss_predicts_rates(loss, output, engine):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, size=(400, 2))
    rate = np.exp(1 + X[:, 0])
    y = rng.poisson(rate)
    model = MLPKerasRegressor(
        **QUICK, loss=loss, output_activation=output, epochs=15, engine=engine
    )
    predicted = model.fit(X, y).predict(X)
    assert (predicted > 0).all()
    assert np.corrcoef(predicted, rate)[0, 1] > 0.95
    name = model.model_.layers[-1].activation.__name__
    assert name == (output or "exponential")


def test_poisson_loss_without_hidden_layers_is_the_linear_model():
    rng = np.random.default_rng(0)
    X = np.linspace(0, 1, 100)[:, None]
    y = rng.poisson(np.exp(1 + X[:, 0]))
    model = MLPKerasRegressor(
        n_hidden=0, loss="poisson", learning_rate=0.05, batch_size=100, epochs=1000
    ).fit(X, y)
    expected = PoissonRegressor(alpha=0, tol=1e-7).fit(X, y).predict(X)
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-3)


def shares(n_columns):
    """Return rows and shares of 1: of one thing, or of several that make it up."""
    X = np.random.default_rng(0).normal(size=(300, 3))
    if n_columns == 1:
        return X, 1 / (1 + np.exp(-2 * X[:, 0]))
    e = np.exp(X)
    return X, e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("loss", "n_columns", "output"),
    [
        ("bce", 1, "sigmoid"),
        ("binary_focal_crossentropy", 1, "sigmoid"),
        ("binary_crossentropy", 3, "sigmoid"),
        (keras.losses.CategoricalCrossentropy, 3, "softmax"),
        ("categorical_focal_crossentropy", 3, "softmax"),
    ],
    ids=named,
)
def test_cross_entropies_predict_shares(loss, n_columns, output):
    X, y = shares(n_columns)
    model = MLPKerasRegressor(**QUICK, loss=loss, epochs=40).fit(X, y)
    assert model.score(X, y) > 0.7
    assert model.model_.layers[-1].activation.__name__ == output


def linear(input_shape):
    model = keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)])
    model.compile(loss=keras.losses.binary_crossentropy)
    return model


def entropy(y_true, y_pred):
    """A loss of the user's own, of logits."""
    return keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)


def test_cross_entropies_of_what_are_no_shares():
    X, y = shares(1)
    for params in (
        {"loss": "bce", "output_activation": "linear"},
        {"loss": keras.losses.BinaryCrossentropy(), "output_activation": "relu"},
        {"model": linear},
    ):
        with pytest.raises(ModelError, match=r"takes probabilities.*output_activation"):
            MLPKerasRegressor(**params, epochs=1).fit(X, y)
    for params in (
        {"loss": "bce", "loss_kwargs": {"from_logits": True}},
        {"loss": entropy},
    ):
        model = MLPKerasRegressor(**QUICK, **params, epochs=40).fit(X, y)
        shown = 1 / (1 + np.exp(-model.predict(X)))
        assert np.corrcoef(shown, y)[0, 1] > 0.9


def test_huber_takes_its_delta(data):
    X, y = data
    small = MLPKerasRegressor(
        **QUICK, loss="huber", epochs=2, loss_kwargs={"delta": 0.01}
    )
    large = MLPKerasRegressor(**QUICK, loss="huber", epochs=2).set_params(
        loss__delta=9.0
    )
    ratio = large.fit(X, y).loss_curve_[0] / small.fit(X, y).loss_curve_[0]
    assert ratio > 10  # delta * |error| against error**2 / 2


def test_mse_and_mae_pull_to_the_mean_and_the_median():
    X = np.zeros((100, 1))
    y = np.r_[np.zeros(60), np.full(40, 10.0)]
    fits = {
        loss: MLPKerasRegressor(
            n_hidden=0, loss=loss, learning_rate=0.03, batch_size=100, random_state=0
        )
        .fit(X, y)
        .predict(X[:1])
        for loss in ("mse", "mae")
    }
    assert fits["mse"] == pytest.approx(4.0, abs=0.2)
    assert fits["mae"] == pytest.approx(0.0, abs=0.2)


def test_no_hidden_layer_is_linear_regression(data):
    X, _ = data
    y = X @ [1.0, -2.0, 0.5, 3.0] + 4.0
    model = MLPKerasRegressor(n_hidden=0, learning_rate=0.05, random_state=0).fit(X, y)
    (_, unit_of_y) = model.model_.layers
    assert isinstance(unit_of_y, keras.layers.Rescaling)
    assert model.score(X, y) > 0.999


@pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda X: X.astype(np.float32), id="float32"),
        pytest.param(lambda X: X.astype(np.float16), id="float16"),
        pytest.param(lambda X: np.rint(10 * X).astype(np.int8), id="int8"),
        pytest.param(lambda X: X > 0, id="bool"),
        pytest.param(sparse.csr_array, id="csr"),
        pytest.param(sparse.csc_matrix, id="csc"),
        pytest.param(lambda X: pd.DataFrame(X, columns=list("abcd")), id="pandas"),
        pytest.param(lambda X: X.tolist(), id="list"),
    ],
)
def test_any_kind_of_rows(data, convert):
    X, y = data
    model = MLPKerasRegressor(**QUICK, epochs=30).fit(convert(X), y)
    assert model.score(convert(X), y) > 0.3
    assert hasattr(model, "feature_names_in_") == isinstance(convert(X), pd.DataFrame)


def test_sparse_and_dense_rows_fit_alike(data):
    X, y = data
    dense = MLPKerasRegressor(**QUICK, epochs=3).fit(X, y)
    thin = MLPKerasRegressor(**QUICK, epochs=3).fit(sparse.csc_array(X), y)
    np.testing.assert_array_equal(dense.predict(X), thin.predict(sparse.csr_array(X)))


def test_weights_of_two_are_rows_taken_twice(data):
    X, y = data
    X, y = scale(X[:20]), y[:20]
    weight = np.tile([0, 1, 2, 3], 5)
    weighted = MLPKerasRegressor(**QUICK).fit(X, y, sample_weight=weight)
    repeated = MLPKerasRegressor(**QUICK).fit(
        X.repeat(weight, axis=0), y.repeat(weight)
    )
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7)


def test_diverse_networks(data):
    X, y = data
    model = MLPKerasRegressor(
        hidden_layer_sizes=(16, 8),
        activation=["selu", "tanh"],
        dropout=0.1,
        normalization="batch",
        l2=1e-4,
        optimizer="nadam",
        optimizer_kwargs={"clipnorm": 1.0},
        learning_rate=0.01,
        metrics=["mae"],
        epochs=30,
        random_state=0,
    ).fit(X, y)
    dense = [x for x in model.model_.layers if isinstance(x, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [16, 8, 1]
    assert model.model_.optimizer.clipnorm == 1.0
    assert len(model.history_["mae"]) == 30
    assert model.score(X, y) > 0.6
