"""X in a common range: learned from the training rows, and part of the network."""

import copy
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.preprocessing import RobustScaler

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._data.input_scale import learn_input_scale
from skann._keras.input_layers import NAMES, input_layers
from skann._keras.unit_layer import unit_layer
from skann._training import work
from skann._training.graph.cache import PROGRAMS, description_of
from skann._training.graph.tracing import same_names_everywhere
from skann.exceptions import ModelError

RNG = np.random.default_rng(0)
# Columns in units of their own, one with a far-out value, a rare one and a constant.
X = np.column_stack(
    [
        RNG.normal(size=(120, 2)),
        1e3 + 20.0 * RNG.normal(size=120),
        np.exp(3.0 * RNG.normal(size=120)),
        RNG.random(120) > 0.9,
        np.full(120, 7.3),
    ]
)
X[5, 1] = 1e7
Y = X[:, 0] + np.tanh((X[:, 2] - 1e3) / 20.0) * np.log(X[:, 3])
QUICK = {"hidden_layer_sizes": [8], "epochs": 6, "random_state": 0, "batch_size": 16}
SCALED = {**QUICK, "normalize_X": True}


def by_definition(x, X):
    """Return a column as the docstring of `normalize_X` has it."""
    low, first, median, third, high = np.quantile(
        X, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf"
    )
    if third > first:
        z = (x - median) / (third - first)
    elif high > low:
        z = 2.0 * (x - median) / (high - low)
    else:
        z = np.zeros_like(x)
    return 3.0 * np.tanh(z / 3.0)


def learned(X, rows=None, weight=None):
    rows = np.arange(X.shape[0]) if rows is None else rows
    return learn_input_scale(X, rows, weight)


def test_columns_are_brought_to_a_range():
    found = learned(X).applied(X)
    expected = [by_definition(x, x) for x in X.T]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-9)
    assert np.abs(found).max() <= 3.0
    assert not found[:, 5].any()


def test_only_training_rows_count():
    rows = np.arange(0, 120, 3)
    found = learned(X, rows).applied(X)
    expected = [by_definition(x, x[rows]) for x in X.T]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-9)


@pytest.mark.parametrize("most", [1, 3, 7])
def test_a_row_of_weight_2_is_the_row_twice(most):
    weight = RNG.integers(1, most + 1, size=120)
    twice = learned(np.repeat(X, weight, axis=0))
    found = learned(X, weight=weight / weight.max())
    np.testing.assert_array_equal(found.scale, twice.scale)
    np.testing.assert_array_equal(found.offset, twice.offset)


def test_sparse_rows_are_those_of_the_array():
    rare = sparse.random(200, 30, 0.3, "csr", rng=RNG)
    found, expected = learned(rare), learned(rare.toarray())
    np.testing.assert_array_equal(found.scale, expected.scale)
    np.testing.assert_array_equal(found.offset, expected.offset)


def test_of_many_rows_some_are_looked_at():
    column = RNG.normal(size=(3_000_000, 2))
    found = learned(column).applied(column[:1000])
    expected = RobustScaler().fit(column).transform(column[:1000])
    np.testing.assert_allclose(found, 3.0 * np.tanh(expected / 3.0), atol=0.01)


@pytest.mark.parametrize(
    "column",
    [
        np.full(50, 1e-320) * np.arange(50),
        1.0 + 1e-16 * np.arange(50),
        np.full(50, -0.1) * (1.0 + 1e-16),
        np.linspace(-1e300, 1e300, 50),
    ],
)
def test_extreme_columns(column):
    found = learned(column[:, None]).applied(column[:, None])
    assert np.isfinite(found).all()


# How a fit runs: in NumPy, without a model and with one; graph, compiled.
WAYS = {
    "arrays": {},
    "dense": {"callbacks": [keras.callbacks.LambdaCallback()]},
    "graph": {"dropout": 1e-9},
    "compiled": {"dropout": 1e-9},
    "float32": {"dtype": "float32", "dropout": 1e-9},
    "widened": {"optimizer": "adamw"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_trains_as_keras_does(way, monkeypatch):
    if way in ("compiled", "float32", "widened"):
        monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    params = {**SCALED, **WAYS[way]}
    sets = {"X_val": X[:40], "y_val": Y[:40]}
    model = MLPKerasRegressor(**params).fit(X, Y, **sets)
    by_keras = MLPKerasRegressor(**{**params, "engine": "keras"}).fit(X, Y, **sets)
    assert by_keras.engine_ == "keras" != model.engine_
    rtol = 1e-3 if way in ("float32", "widened") else 1e-6
    for name, values in by_keras.history_.items():
        np.testing.assert_allclose(model.history_[name], values, rtol=rtol)
    np.testing.assert_allclose(model.predict(X), by_keras.predict(X), rtol=rtol)
    outputs = model.model_.predict(X, verbose=0)[:, 0]
    np.testing.assert_allclose(model.predict(X), outputs, rtol=1e-4, atol=1e-5)
    assert [layer.name for layer in model.model_.layers[:3]] == list(NAMES)


def test_it_is_a_fit_on_rows_in_the_range():
    model = MLPKerasRegressor(**SCALED, dtype="float64").fit(X, Y)
    other = MLPKerasRegressor(**QUICK, dtype="float64", normalize_X=False)
    other.fit(learned(X).applied(X), Y)
    np.testing.assert_allclose(model.loss_curve_, other.loss_curve_, rtol=1e-9)


def test_units_of_x_change_nothing():
    factors = np.array([1e-6, 1e6, -1.0, 3.0, 1.0, 1.0])
    model = MLPKerasRegressor(**SCALED, dtype="float64").fit(X, Y)
    other = MLPKerasRegressor(**SCALED, dtype="float64").fit(X * np.abs(factors), Y)
    np.testing.assert_allclose(other.loss_curve_, model.loss_curve_, rtol=1e-6)


def test_a_far_out_row_stays_in_the_range():
    model = MLPKerasRegressor(**SCALED).fit(X, Y)
    rows = np.vstack([X[:1], X[:1]])
    rows[0, 0], rows[1, 0] = 1e6, 1e30
    np.testing.assert_allclose(*model.predict(rows), rtol=1e-6)


def test_a_linear_model_stays_one():
    model = MLPKerasRegressor(n_hidden=0, epochs=2, normalize_X="auto").fit(X, Y)
    assert input_layers(model.model_) == []


def test_one_program_serves_every_table(monkeypatch):
    monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    params = {**SCALED, "dropout": 0.3, "batch_size": 23, "engine": "compiled"}
    model = MLPKerasRegressor(**params).fit(X, Y)
    first, n_programs = model.predict(X), len(PROGRAMS)
    other = MLPKerasRegressor(**params).fit(5.0 * X[:100] + 3.0, Y[:100])
    assert len(PROGRAMS) == n_programs
    np.testing.assert_array_equal(model.predict(X), first)
    by_keras = MLPKerasRegressor(**{**params, "engine": "keras", "dropout": 1e-9})
    ours = MLPKerasRegressor(**{**params, "dropout": 1e-9})
    by_keras.fit(5.0 * X[:100] + 3.0, Y[:100])
    ours.fit(5.0 * X[:100] + 3.0, Y[:100])
    np.testing.assert_allclose(ours.loss_curve_, by_keras.loss_curve_, rtol=1e-5)
    assert other.engine_ == ours.engine_ == "compiled"


def test_predictions_in_tensorflow_are_by_ones_own_numbers():
    def build(input_shape):
        parts = [keras.Input(input_shape), keras.layers.Dense(6, "mish")]
        return keras.Sequential([*parts, keras.layers.Dense(1)])

    params = {"epochs": 2, "random_state": 0, "normalize_X": True}
    for rows in (X, 10.0 * X + 1.0):
        model = MLPKerasRegressor(build, **params).fit(rows, Y)
        outputs = model.model_.predict(rows, verbose=0)[:, 0]
        np.testing.assert_allclose(model.predict(rows), outputs, rtol=1e-4)
        # Keras follows what is another layer now.
        ready = MLPKerasRegressor(model.model_, epochs=2, engine="keras", shuffle=False)
        fast = clone(ready).set_params(engine="auto").fit(rows, Y)
        expected = ready.fit(rows, Y).loss_curve_
        np.testing.assert_allclose(fast.loss_curve_, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "params",
    [{}, {"dropout": 0.2}, {"normalization": "layer"}, {"activation": "mish"}],
    ids=["arrays", "dropout", "layer", "mish"],
)
def test_copies_predict_and_go_on_alike(params):
    model = MLPKerasRegressor(**SCALED, **params).fit(X, Y)
    expected = model.predict(X)
    copies = [pickle.loads(pickle.dumps(model)), copy.deepcopy(model)]
    for other in copies:
        np.testing.assert_array_equal(other.predict(X), expected)
    model.partial_fit(X, Y)
    for other in copies:
        np.testing.assert_array_equal(
            other.partial_fit(X, Y).predict(X), model.predict(X)
        )
    # Going on does not learn the range anew.
    scale = np.asarray(input_layers(model.model_)[0].scale)
    model.partial_fit(100.0 * X, Y)
    np.testing.assert_array_equal(input_layers(model.model_)[0].scale, scale)


def test_a_clone_learns_it_anew():
    model = MLPKerasRegressor(**SCALED).fit(1000.0 * X, Y)
    again = clone(model).fit(X, Y)
    expected = MLPKerasRegressor(**SCALED).fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), expected.predict(X))


def test_keras_alone_reads_the_file(tmp_path):
    path = tmp_path / "best.keras"
    model = MLPKerasRegressor(**SCALED, checkpoint_path=path, monitor="loss").fit(X, Y)
    np.save(tmp_path / "X.npy", X)
    code = (
        "import sys, keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "np.save(sys.argv[2], model.predict(np.load(sys.argv[3]), verbose=0)[:, 0])\n"
        "assert 'skann' not in sys.modules\n"
    )
    files = [path, tmp_path / "found.npy", tmp_path / "X.npy"]
    subprocess.run([sys.executable, "-c", code, *files], check=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-4)


def test_classes():
    X, y = load_iris(return_X_y=True)
    X = X * [1.0, 1e3, 1e-3, 1.0] + [0.0, 0.0, 1e3, 0.0]
    model = MLPKerasClassifier(random_state=0, normalize_X=True).fit(X, y)
    assert model.score(X, y) > 0.95
    assert model.engine_ == "numpy"


def functional():
    rows = keras.Input((6,))
    return keras.Model(rows, keras.layers.Dense(1)(rows))


@pytest.mark.parametrize(
    ("model", "X", "error", "said"),
    [
        (functional, X, ModelError, "normalize_X=True .* Functional"),
        (None, X.reshape(120, 2, 3), ValueError, r"normalize_X=True .* \(2, 3\)"),
    ],
)
def test_what_cannot_be_brought_to_it(model, X, error, said):
    with pytest.raises(error, match=said):
        MLPKerasRegressor(model, normalize_X=True, epochs=1).fit(X, Y)


def test_a_network_that_has_the_layers_is_not_given_them_again():
    ready = MLPKerasRegressor(**SCALED).fit(X, Y).model_
    MLPKerasRegressor(ready, epochs=1).fit(X, Y)
    with pytest.raises(ModelError, match=r"normalize_X=True .* has them already"):
        MLPKerasRegressor(ready, normalize_X=True, epochs=1).fit(X, Y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("far", [1e3, 1e5, 1e7])
def test_columns_far_from_0(dtype, far):
    rows = RNG.normal(size=(200, 2)) + far
    y = rows @ [1.0, -1.0]
    params = {**SCALED, "dtype": dtype, "epochs": 20, "normalize_y": False}
    model = MLPKerasRegressor(**params).fit(rows, y)
    by_keras = MLPKerasRegressor(**params, engine="keras").fit(rows, y)
    rtol = 1e-3 if dtype == "float32" else 1e-6
    np.testing.assert_allclose(model.loss_curve_, by_keras.loss_curve_, rtol=rtol)
    # What is predicted is what was trained: rows of the network's type.
    outputs = np.asarray(model.model_(rows.astype(dtype)))[:, 0]
    np.testing.assert_allclose(model.predict(rows), outputs, rtol=1e-4, atol=1e-4)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(rows), model.predict(rows))


def test_rows_in_step_with_those_that_are_looked_at():
    column = np.arange(9_000_000) % 5
    scale = learned(np.column_stack([column, column])).scale
    np.testing.assert_allclose(scale, 1 / (3 - 1) / 3, rtol=1e-6)


def test_rows_one_by_one():
    model = MLPKerasRegressor(**SCALED, learning_rate=0.01)
    rows = RNG.normal(size=(400, 2))
    y = rows[:, 0] - rows[:, 1]
    for i in range(400):
        model.partial_fit(rows[i : i + 1], y[i : i + 1])
    assert np.corrcoef(model.predict(rows), y)[0, 1] > 0.9


def takes_ids():
    layers = [keras.Input((2,)), keras.layers.Embedding(10, 3), keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(1)])


def takes_integers():
    return keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Dense(1)])


@pytest.mark.parametrize("build", [takes_ids, takes_integers])
def test_numbers_of_categories_are_not_scaled(build):
    ids = RNG.integers(0, 10, size=(60, 2))
    with pytest.raises(ModelError, match="normalize_X=True would scale numbers of"):
        MLPKerasRegressor(build, normalize_X=True, epochs=1).fit(ids, ids[:, 0])


def test_predictions_within_a_fit_by_keras():
    params = {**SCALED, "activation": "mish", "engine": "keras", "warm_start": True}
    model = MLPKerasRegressor(**params).fit(X, Y)
    expected = copy.deepcopy(model).fit(X, Y).loss_curve_

    def predict(epoch, logs):
        PROGRAMS.clear()
        model.predict(X[:5])

    asks = keras.callbacks.LambdaCallback(on_epoch_begin=predict)
    model.fit(X, Y, callbacks=[asks])
    np.testing.assert_allclose(model.loss_curve_, expected, rtol=1e-6)


def test_units_are_known_while_a_program_is_traced():
    model = MLPKerasRegressor(**SCALED, dropout=0.1).fit(X, Y).model_
    description = description_of(model)
    with same_names_everywhere(model, description, "train"):
        assert len(input_layers(model)) == 3
        assert unit_layer(model) is not None


def test_a_build_function_may_return_a_network_that_has_them():
    trained = MLPKerasRegressor(**SCALED).fit(X, Y).model_

    def build():
        network = keras.models.clone_model(trained)
        network.compile("adam", lambda y, p: keras.ops.mean((y - p) ** 2, axis=-1))
        return network

    model = MLPKerasRegressor(build, epochs=1, random_state=0).fit(X, Y)
    copied = copy.deepcopy(model)
    np.testing.assert_array_equal(copied.predict(X), model.predict(X))


def test_images_of_channels_first_are_not_rescaled(monkeypatch):
    monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    with pytest.raises(ValueError, match=r"normalize_X=True .* 'channels_first'"):
        MLPKerasRegressor(**SCALED).fit(X, Y)
    model = MLPKerasRegressor(**{**SCALED, "normalize_X": "auto"}).fit(X, Y)
    assert input_layers(model.model_) == []


def test_numbers_are_not_changed_in_place():
    model = MLPKerasRegressor(**SCALED).fit(X, Y)
    with pytest.raises(ValueError, match="read-only"):
        model.model_.layers[0].scale[0] = 5.0


def test_keras_follows_a_range_that_was_replaced():
    params = {**SCALED, "activation": "mish", "warm_start": True, "shuffle": False}
    labels = np.median(Y) < Y
    curves = []
    for engine in ("auto", "keras"):
        model = MLPKerasClassifier(**params, engine=engine).fit(X, labels)
        first = model.model_.layers[0]
        first.scale = 0.1 * first.scale
        first.offset = 0.1 * first.offset
        curves.append(model.fit(X, labels).loss_curve_)
    np.testing.assert_allclose(*curves, rtol=1e-5)
