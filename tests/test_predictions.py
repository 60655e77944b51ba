"""What predictions are made of, and when there are none."""

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from names import named
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._training.graph.forward import Forward

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


@pytest.mark.parametrize("y", [TWO, THREE, LABELS], ids=["two", "three", "labels"])
def test_logarithms_of_probabilities(y):
    model = small().fit(X, y)
    assert_array_equal(model.predict_log_proba(X), np.log(model.predict_proba(X)))
    far = 1e30 * X
    assert np.isneginf(model.predict_log_proba(far)).any()


# -- rows that are too large --------------------------------------------------------


def convolution(input_shape, n_outputs):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Reshape((3, 1)),
            layers.Conv1D(2, 2),
            layers.Flatten(),
            layers.Dense(n_outputs),
        ]
    )


def mapped(X, directory):
    np.save(directory / "X.npy", X)
    return np.load(directory / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("value", [1e39, -1e39, 1e308, np.longdouble("1e400")])
@pytest.mark.parametrize(
    "params",
    [
        {"dtype": "float32"},
        {"dtype": "float32", "dropout": 0.5},
        {"model": convolution},
    ],
    ids=["late", "stack", "other"],
)
def test_what_fit_refuses_is_refused_later(params, value, tmp_path):
    model = MLPKerasRegressor(epochs=1, random_state=0, **params).fit(X, TWO)
    bad = X.astype(type(value) if isinstance(value, np.longdouble) else float)
    bad[7, 1] = value
    kinds = [bad]
    if not isinstance(value, np.longdouble):
        frame = pd.DataFrame(bad)
        kinds += [sparse.csr_array(bad), mapped(bad, tmp_path), frame, bad.tolist()]
    for kind in kinds:
        for method, y in (
            (model.predict, []),
            (model.fit, [TWO]),
            (model.partial_fit, [TWO]),
        ):
            with pytest.raises(ValueError, match=r"too large for dtype\('float32'\)"):
                method(kind, *y)
    assert np.isfinite(model.predict(X)).all()
    edge = np.where(X > 0, np.finfo(np.float32).max, X)
    assert model.predict(edge).shape == (40,)


def test_float64_takes_what_float64_holds():
    model = MLPKerasRegressor(epochs=1, random_state=0, dtype="float64").fit(X, TWO)
    large = X.copy()
    large[3] = 1e39
    assert np.isfinite(model.predict(large)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_either_precision(dtype):
    model = MLPKerasRegressor(epochs=1, random_state=0, dtype=dtype).fit(X, TWO)
    single = X.astype("float32")
    np.testing.assert_allclose(model.predict(single), model.predict(X), rtol=1e-4)
    single[3, 1] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(single)


# -- weights of classes -------------------------------------------------------------


def small(**params):
    return MLPKerasClassifier(
        hidden_layer_sizes=[4], epochs=2, random_state=0, **params
    )


@pytest.mark.parametrize("scale", [1e-308, 5e-324, 1e300, 1e308])
@pytest.mark.parametrize("with_rows", [False, True])
def test_scale_of_class_weights_does_not_matter(scale, with_rows):
    rows = np.where(X[:, 0] > 0, 1.0, 0.5)
    fit = {"sample_weight": scale * rows} if with_rows else {}
    usual = {"sample_weight": rows} if with_rows else {}
    weights = [dict.fromkeys(range(3), factor) for factor in (scale, 1.0)]
    huge, expected = (
        small(class_weight=weight).fit(X, THREE, **kw).predict_proba(X)
        for weight, kw in zip(weights, (fit, usual), strict=True)
    )
    if scale == 5e-324 and with_rows:
        return  # A subnormal number has no half.
    np.testing.assert_allclose(huge, expected, rtol=1e-6)


def test_ratios_of_class_weights_count():
    a = small(class_weight={0: 1e308, 1: 1e307}).fit(X, THREE).predict_proba(X)
    b = small(class_weight={0: 10.0, 1: 1.0, 2: 0.0}).fit(X, THREE).predict_proba(X)
    np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("class_weight", [{2: 5}, {0: 0, 2: 5}, "balanced"], ids=named)
def test_a_batch_need_not_hold_every_class(class_weight):
    model = small(class_weight=class_weight)
    model.partial_fit(X[THREE != 2], THREE[THREE != 2], classes=[0, 1, 2])
    for label in range(3):
        model.partial_fit(X[label == THREE], THREE[label == THREE])
    assert np.isfinite(model.predict_proba(X)).all()
    with pytest.raises(ValueError, match=r"class_weight names \[7\]"):
        model.set_params(class_weight={7: 1}).partial_fit(X, THREE)


def test_a_class_weighs_the_same_in_every_batch():
    some = THREE == 2
    by_weight = {}
    for weight in (1.0, 4.0):
        params = {"optimizer": "sgd", "class_weight": {2: weight}}
        model = small(**params).partial_fit(X, THREE)
        before = np.concatenate([w.ravel() for w in model.model_.get_weights()])
        model.partial_fit(X[some], THREE[some])
        after = np.concatenate([w.ravel() for w in model.model_.get_weights()])
        by_weight[weight] = np.linalg.norm(after - before)
    assert by_weight[4.0] > 1.5 * by_weight[1.0]


# -- predictions while another thread trains ----------------------------------------


def in_a_thread(function):
    with ThreadPoolExecutor(1) as other:
        return other.submit(function).result()


@pytest.mark.parametrize("n_chunks", [1, 3])
def test_a_prediction_during_which_training_begins(n_chunks, monkeypatch):
    model = MLPKerasRegressor(convolution, random_state=0, epochs=1).fit(X, TWO)
    before = model.predict(X)
    monkeypatch.setattr("skann._network.keras_network.CHUNK_BYTES", 24 * 40 // n_chunks)
    model.model_ = model.model_  # Of chunks of this size.
    forward, trained = Forward.__call__, []

    def interrupted(self, x):
        outputs = forward(self, x)
        if not trained:
            trained.append(in_a_thread(lambda: model.partial_fit(X, TWO)))
        return outputs

    monkeypatch.setattr(Forward, "__call__", interrupted)
    meanwhile = model.predict(X)
    after = model.predict(X)
    assert np.abs(after - before).max() > 1e-4
    if n_chunks == 1 and np.array_equal(meanwhile, before):
        return
    assert_array_equal(meanwhile, after)


@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize(
    "params",
    [{"dropout": 0.0}, {"dropout": 0.5}, {"model": convolution}],
    ids=["late", "stack", "other"],
)
@pytest.mark.parametrize("warm", [False, True], ids=["no call", "called"])
def test_predictions_amid_training_are_those_from_before(
    params, engine, warm, monkeypatch
):
    model = MLPKerasRegressor(random_state=0, epochs=1, engine=engine, **params)
    model.fit(X, TWO)
    before = clone(model).fit(X, TWO).predict(X)
    if warm:
        model.predict(X)
    seen, own = [], []

    def end(self, *arguments):  # The variables are new, partly or all.
        kernel = model.model_.weights[0]
        kernel.assign(kernel + 1.0)
        seen.append(in_a_thread(lambda: model.predict(X)))
        own.append(model.predict(X))

    monkeypatch.setattr("skann._estimators.base.BaseMLPKeras._record", end)
    model.partial_fit(X, TWO)
    assert_array_equal(seen[0], before)
    after = model.predict(X)
    assert np.abs(after - before).max() > 1e-3
    assert_array_equal(own[0], after)
    assert_array_equal(in_a_thread(lambda: model.predict(X)), after)


@pytest.mark.parametrize(
    "params", [{"dropout": 0.5}, {"model": convolution}], ids=named
)
def test_every_prediction_is_by_weights_of_one_moment(params):
    model = MLPKerasRegressor(
        random_state=0, epochs=1, optimizer="sgd", learning_rate=0.01, **params
    ).fit(X, TWO)
    states, seen, done = [model.predict(X)], [], threading.Event()

    def serve():
        while not done.is_set():
            seen.append(model.predict(X))

    with ThreadPoolExecutor(2) as others:
        serving = [others.submit(serve) for _ in range(2)]
        try:
            for _ in range(15):
                model.partial_fit(X, TWO)
                states.append(model.predict(X))
        finally:
            done.set()
        for each in serving:
            each.result()
    known = {state.tobytes() for state in states}
    assert len(known) == 16
    assert len(seen) > 20
    assert {outputs.tobytes() for outputs in seen} <= known
