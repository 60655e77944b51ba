"""What bad input gets: an error which names the parameter, before any training."""

import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann.exceptions import ModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ np.array([1.0, 2.0, 3.0])
TWO = (Y > 0).astype(int)
THREE = np.digitize(Y, [-2.0, 2.0])
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


class NoTraining(keras.callbacks.Callback):
    """Fails a test in which training begins."""

    def on_train_begin(self, logs=None):
        raise AssertionError("training began")


def regressor(**params):
    return MLPKerasRegressor(
        **{"n_hidden": 1, "n_neurons": 4, "epochs": 2, "random_state": 0, **params}
    )


def classifier(**params):
    return MLPKerasClassifier(
        **{"n_hidden": 1, "n_neurons": 4, "epochs": 2, "random_state": 0, **params}
    )


def plain(model, cls=MLPKerasRegressor, **params):
    """Return an estimator that leaves all that shapes a network to the model."""
    return cls(model, **{"epochs": 2, "random_state": 0, **params})


def assert_refused(estimator, X, y, match, error=(ValueError, TypeError), **fit):
    before = dict(vars(estimator))
    fit.setdefault("callbacks", [NoTraining()])
    with pytest.raises(error, match=match):
        estimator.fit(X, y, **fit)
    assert vars(estimator).keys() == before.keys()
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


def network(outputs=1, inputs=(3,), activation=None):
    return keras.Sequential(
        [keras.Input(inputs), layers.Dense(outputs, activation=activation)]
    )


def compiled_network(loss="mse", outputs=1):
    model = network(outputs)
    model.compile(loss=loss, optimizer="sgd")
    return model


# -- parameters ---------------------------------------------------------------------

BAD_PARAMETERS = {
    "model": [3, "mlp", [network]],
    "n_hidden": [-1, 1.5, "2"],
    "n_neurons": [0, -1, 2.5, "a"],
    "hidden_layer_sizes": ["ab", 5, (0,), (1.5,), ("3",), (True,), [[3, 4]]],
    "activation": ["nope", "get", 3, ["relu", "relu"], [], (3,), ["nope"]],
    "output_activation": ["nope", "serialize", 3],
    "kernel_initializer": ["nope", "get", 3],
    "dropout": [-0.1, 1.0, 1, "a", np.nan],
    "normalization": ["x", True, "BATCH"],
    "l1": [-1, np.nan, "a"],
    "l2": [-1, np.nan, "a"],
    "dtype": ["nope", "int32", "int8", "uint8", "bool", "string", "complex64", 3],
    "model_kwargs": [3, [("a", 1)], {"nope": 1}, {3: 4}],
    "loss": ["nope", "", 3, int, "ctc", keras.losses.Loss],
    "loss_kwargs": [3, {"nope": 1}, {"delta": 2.0}],
    "metrics": [
        "nope",
        3,
        ["nope"],
        [3],
        [None],
        {"a": "mae", "b": "mse"},
        keras.metrics.Metric,
    ],
    "optimizer": [
        "nope",
        "",
        3,
        int,
        keras.optimizers.Optimizer,
        "lossscaleoptimizer",
    ],
    "learning_rate": [0, 0.0, -1, np.nan, np.inf, "a"],
    "optimizer_kwargs": [
        3,
        {"nope": 1},
        {"momentum": 0.9},
        {"clipnorm": "a"},
        {"learning_rate": -3},
        {"learning_rate": "a"},
    ],
    "epochs": [0, -1, 1.5, None, "a"],
    "batch_size": [0, -1, 1.5, None, "auto"],
    "shuffle": [1, "a", None],
    "validation_fraction": [0, 0.0, 1, 1.0, -0.1, "a", np.nan],
    "validation": ["", "first", None, 5, 0.1, KFold, [(np.arange(9), np.arange(9))]],
    "early_stopping": ["yes", None, 2],
    "patience": [-1, 1.5, None],
    "min_delta": [-1, np.nan, "a"],
    "monitor": [3, None],
    "monitor_mode": ["up", None, 1],
    "restore_best_weights": ["a", None],
    "checkpoint_path": [
        3,
        "",
        "x",
        "x.txt",
        b"x.keras",
        "a\0b.keras",
        "n" * 300 + ".h5",
    ],
    "checkpoint_save_best_only": [3, None],
    "tensorboard_dir": [3, b"x"],
    "callbacks": [3, "a", [3], [None], [keras.callbacks.History], {"a": 1}],
    "engine": ["x", None, True],
    "warm_start": ["a", None],
    "random_state": ["a", 1.5, -1, 2**32, np.random.default_rng(0)],
    "verbose": [-1, 1.5, "a", None],
}


def rows(table):
    return [(name, value) for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), rows(BAD_PARAMETERS))
def test_bad_parameter(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Some of the bad paths are relative.
    match = rf"\b{name}\b"
    assert_refused(regressor(**{name: value}), X, Y, match)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["x", None, 1])
def test_bad_normalize_y(value):
    assert_refused(regressor(normalize_y=value), X, Y, "normalize_y")


@pytest.mark.parametrize(
    "value",
    [
        "x",
        [1, 2],
        {5: 1.0},
        {"0": 1.0},
        {0: -1.0},
        {0: "a"},
        {0: np.nan},
        {0: np.inf},
        {0: 0.0, 1: 0.0},
    ],
)
def test_bad_class_weight(value):
    assert_refused(classifier(class_weight=value), X, TWO, "class_weight")


@pytest.mark.parametrize("label", [(0, 1), (0,), (0, 1, 2), (0, (1, 2))])
def test_class_weight_of_a_tuple(label):
    match = "class_weight names .* not among the classes"
    assert_refused(classifier(class_weight={label: 2}), X, TWO, match)


def test_class_weight_for_multilabel():
    y = np.c_[TWO, 1 - TWO]
    assert_refused(classifier(class_weight="balanced"), X, y, "class_weight")


@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"]
)
def test_class_loss_for_regressor(loss):
    assert_refused(regressor(loss=loss), X, Y, r"\bloss\b")


def test_loss_of_the_wrong_arity():
    assert_refused(regressor(loss=lambda y: y), X, Y, r"\bloss\b")


def test_activation_of_the_wrong_arity():
    assert_refused(regressor(activation=lambda a, b: a), X, Y, r"\bactivation\b")


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"monitor": "nope", "early_stopping": True}, "monitor='nope'.*reports"),
        ({"monitor": "", "early_stopping": True}, "monitor=''"),
        ({"monitor": "val_nope", "early_stopping": True}, "monitor='val_nope'"),
        (
            {"early_stopping": True, "validation_fraction": None},
            "needs a validation set",
        ),
        (
            {"early_stopping": True, "validation_fraction": 0.999},
            "validation_fraction=0.999 of 40 rows",
        ),
        (
            {
                "callbacks": [keras.callbacks.EarlyStopping()],
                "validation_fraction": None,
            },
            "monitor='val_loss' needs a validation set",
        ),
        (
            {"callbacks": [keras.callbacks.ReduceLROnPlateau(monitor="val_nope")]},
            "monitor='val_nope'",
        ),
    ],
)
def test_bad_monitor(params, match):
    assert_refused(regressor(**params), X, Y, match)


def test_bad_monitor_leaves_no_directories(tmp_path):
    params = {
        "monitor": "nope",
        "checkpoint_path": tmp_path / "checkpoints" / "best.keras",
        "tensorboard_dir": tmp_path / "logs",
    }
    assert_refused(regressor(**params), X, Y, "monitor='nope'")
    assert_refused(clone(regressor(**params)), X, Y, "monitor='nope'")
    assert not list(tmp_path.iterdir())


def test_normalize_y_with_bound_outputs():
    params = {"output_activation": "sigmoid", "normalize_y": True}
    assert_refused(regressor(**params), X, TWO, "normalize_y=True")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_hidden", np.int64(1)),
        ("hidden_layer_sizes", []),
        ("hidden_layer_sizes", np.array([3, 4])),
        ("learning_rate", 1),
        ("learning_rate", np.float32(0.1)),
        ("learning_rate", keras.optimizers.schedules.ExponentialDecay(1e-2, 10, 0.9)),
        ("batch_size", np.int64(8)),
        ("batch_size", np.uint8(8)),
        ("batch_size", 10**9),
        ("epochs", np.int64(2)),
        ("l1", 1),
        ("patience", np.int32(1)),
        ("random_state", np.int64(3)),
        ("validation_fraction", 1e-9),
        ("activation", lambda z: keras.ops.maximum(z, 0.0)),
        ("metrics", ["mae", "mae"]),
        ("optimizer", "SGD"),
    ],
)
def test_odd_but_good_parameter(name, value):
    model = regressor(**{name: value}).fit(X, Y)
    assert np.isfinite(model.predict(X)).all()


# -- set_params ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"nope": 1},
        {"model__nope": 1},
        {"epochs": 3, "model__nope": 1},
        {"model__": 1},
        {"optimizer__": 1},
    ],
)
def test_set_params_unknown(params):
    estimator = regressor()
    name = list(params)[-1]
    with pytest.raises(ValueError, match=f"Invalid parameter '{name}'"):
        estimator.set_params(**params)
    # What was not accepted must not spoil the next fit.
    assert estimator.model_kwargs is None
    assert estimator.optimizer_kwargs is None
    estimator.fit(X, Y)


@pytest.mark.parametrize("name", ["optimizer__nope", "loss__nope", "loss__delta"])
def test_part_parameter_unknown(name):
    part, _, rest = name.partition("__")
    estimator = regressor().set_params(**{name: 1})
    assert_refused(estimator, X, Y, rf"{part}_kwargs.*{rest}")


@pytest.mark.parametrize("part", ["model", "optimizer", "loss"])
def test_set_params_on_bad_kwargs(part):
    estimator = MLPKerasRegressor(**{f"{part}_kwargs": 3})
    with pytest.raises((TypeError, ValueError), match=f"{part}_kwargs"):
        estimator.set_params(**{f"{part}__a": 1})


def test_callable_without_signature():
    estimator = MLPKerasRegressor(model=int)
    assert estimator.get_params()["model"] is int
    assert_refused(estimator, X, Y, "model")


# -- X ------------------------------------------------------------------------------


def with_value(array, value):
    array = np.array(array, dtype=float)
    array.flat[5] = value
    return array


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (with_value(X, np.nan), "Input X contains NaN"),
        (with_value(X, np.inf), "Input X contains infinity"),
        (sparse.csr_matrix(with_value(X, np.nan)), "Input X contains NaN"),
        (FRAME.mask(FRAME > 1), "Input X contains NaN"),
        (FRAME.round().astype("Int64").mask(FRAME > 1), "Input X contains NaN"),
        (X[:0], "0 sample"),
        (X[:, :0], "0 feature"),
        (X[:, 0], "Expected 2D array"),
        (3.0, "Expected 2D array"),
        (None, "Expected 2D array"),
        (X.astype(str), "numeric"),
        (
            np.full((40, 1), "a", dtype=object),
            "must hold numbers|could not convert string",
        ),
        (X + 1j, "Complex data not supported"),
        (np.full((40, 3), np.datetime64("2020-01-01")), r"\bX\b.*datetime64"),
        (
            FRAME.assign(a=pd.Categorical(["u", "v"] * 20)),
            "must hold numbers|could not convert string",
        ),
        (FRAME[["a"]].assign(a=pd.Categorical(["u", "v"] * 20)), r"\bX\b"),
        (FRAME.rename(columns={"a": 1}), "string names"),
        (X * 1e300, r"\bX\b.*too large for dtype\('float32'\)"),
        (X[:39], "inconsistent numbers of samples"),
    ],
)
def test_bad_X(bad, match):
    assert_refused(regressor(dtype="float32"), bad, Y, match)


@pytest.mark.parametrize(
    "odd",
    [
        X.tolist(),
        X.astype(object),
        X > 0,
        np.round(X * 9 + 99).astype("uint8"),
        X.astype("f2"),
        X.astype("longdouble"),
        X.astype(">f8"),
        np.asfortranarray(X),
        np.ma.array(X),
        X[::-1],
        FRAME.astype("Float64"),
        (FRAME > 0).astype("boolean"),
        np.ones((40, 3)),
        X[:, :1],
        X.reshape(40, 3, 1, 1),
    ],
)
def test_odd_but_good_X(odd):
    model = regressor().fit(odd, Y)
    assert model.predict(odd).shape == (40,)


def test_one_row():
    assert regressor().fit(X[:1], Y[:1]).predict(X).shape == (40,)


@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_layouts_agree(layout, make):
    some = X * (X > 0)
    some[3:6] = 0.0  # Rows without any entry.
    expected = regressor().fit(some, Y).predict(some)
    given = make(some).asformat(layout)
    model = regressor().fit(given, Y)
    np.testing.assert_allclose(model.predict(given), expected, rtol=1e-6)


def test_sparse_with_wide_indices_and_duplicates():
    X = sparse.csr_matrix(
        (np.ones(4), np.array([0, 0, 1, 1]), np.array([0, 2, 4, 4])), shape=(3, 3)
    )
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    expected = regressor().fit(X.toarray(), Y[:3]).predict(X.toarray())
    np.testing.assert_allclose(
        regressor().fit(X, Y[:3]).predict(X), expected, rtol=1e-6
    )


# -- y ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (with_value(Y, np.nan), "Input y contains NaN"),
        (with_value(Y, np.inf), "Input y contains infinity"),
        (pd.Series([1, None] * 20, dtype="Int64"), "Input y contains NaN"),
        (None, r"\by\b"),
        (Y[:-1], "inconsistent numbers of samples"),
        (np.zeros((40, 0)), "0 feature"),
        (np.zeros((40, 2, 2)), "dim 3"),
        (
            np.array(["a", "b"] * 20, dtype=object),
            "must hold numbers|could not convert string",
        ),
        (
            np.array(["a", "b"] * 20),
            r"\by\b|must hold numbers|could not convert string",
        ),
        (Y + 1j, "Complex data not supported"),
        (sparse.csr_matrix(Y[:, None]), r"\by\b.*[Ss]parse|[Ss]parse.*\by\b"),
        (np.full(40, np.datetime64("2020-01-01")), r"\by\b.*datetime64"),
        (3.0, r"\by\b|dimension"),
    ],
)
def test_bad_y_of_regressor(bad, match):
    assert_refused(regressor(), X, bad, match)


@pytest.mark.parametrize(
    "odd",
    [
        Y.tolist(),
        Y[:, None],
        np.c_[Y, Y],
        np.c_[Y, np.ones(40)],
        TWO,
        TWO > 0,
        Y.astype(object),
        Y.astype("f2"),
        pd.Series(Y, dtype="Float64"),
        np.zeros(40),
        np.full(40, 5.0),
        np.full(40, 1e300),
        Y * 1e-300,
        Y * 1e155,
        Y * 1e300,
        Y + 1e15,
    ],
)
def test_odd_but_good_y_of_regressor(odd):
    predicted = regressor().fit(X, odd).predict(X)
    assert predicted.shape == np.shape(odd)
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (with_value(TWO, np.nan), "Input y contains NaN"),
        (with_value(TWO, np.inf), "Input y contains infinity"),
        (Y, "Unknown label type: continuous"),
        (np.c_[THREE, THREE], "multiclass-multioutput"),
        (np.zeros(40), "one class"),
        (np.array(["a", None] * 20, dtype=object), r"\by\b|label"),
        (np.array([1, "a"] * 20, dtype=object), r"\by\b|label"),
        (pd.Series(pd.Categorical(["a", None] * 20)), "NaN"),
        (sparse.csr_matrix(np.c_[TWO, 1 - TWO]), r"\by\b.*[Ss]parse|[Ss]parse.*\by\b"),
        (None, r"\by\b"),
    ],
)
def test_bad_y_of_classifier(bad, match):
    assert_refused(classifier(), X, bad, match)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([3, 10, 700]),
        np.array(["a", "b", "c"]),
        np.array([-1.0, 0.0, 1.0]),
        np.array(["a", "b", "c"], dtype=object),
        np.array([2**62, 2**62 + 1, 2**62 + 2]),
        np.array(["2020", "2021", "2022"], dtype="datetime64[Y]"),
    ],
)
def test_labels_of_any_type(labels):
    y = labels[THREE]
    model = classifier(epochs=30, learning_rate=0.1).fit(X, y)
    assert_array_equal(model.classes_, np.sort(labels))
    assert model.predict(X).dtype == labels.dtype
    assert model.score(X, y) > 0.6


@pytest.mark.parametrize("y", [TWO, THREE], ids=["binary", "multiclass"])
@pytest.mark.parametrize(
    "params",
    [
        {"output_activation": "softmax"},
        {"output_activation": "sigmoid"},
        {"output_activation": "linear", "loss": "mse"},
        {"loss": "categorical_crossentropy"},
        {"loss": "sparse_categorical_crossentropy"},
        {"loss": "binary_crossentropy"},
        {"loss": "hinge"},
        {"loss": "mse"},
    ],
    ids=str,
)
def test_probabilities_are_probabilities(params, y):
    model = classifier(epochs=30, learning_rate=0.05, n_neurons=20, **params)
    p = model.fit(X, y).predict_proba(X)
    assert p.min() >= 0
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-9)
    assert model.score(X, y) > 0.7, "it has learned nothing"


@pytest.mark.parametrize("y", [TWO, THREE], ids=["binary", "multiclass"])
@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_outputs_that_are_no_probabilities(activation, y):
    model = classifier(output_activation=activation)
    assert_refused(model, X, y, f"output activation of '{activation}' does not give")


# -- weights ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (np.zeros(40), "[Ss]ample.weight"),
        (0, "[Ss]ample.weight"),
        (-np.ones(40), "sample_weight"),
        (with_value(np.ones(40), -1), "sample_weight"),
        (with_value(np.ones(40), np.nan), "sample_weight contains NaN"),
        (with_value(np.ones(40), np.inf), "sample_weight contains infinity"),
        (np.ones(39), "sample_weight"),
        (np.ones((40, 1)), "[Ss]ample weights must be 1D"),
        (["a"] * 40, "must hold numbers|could not convert string"),
    ],
)
def test_bad_sample_weight(bad, match):
    assert_refused(regressor(), X, Y, match, sample_weight=bad)
    fit = {"X_val": X, "y_val": Y, "sample_weight_val": bad}
    if np.ndim(bad):
        assert_refused(regressor(), X, Y, match, **fit)


@pytest.mark.parametrize("scale", [1e-300, 1e300, 1.7e308])
def test_scale_of_weights_does_not_matter(scale):
    expected = regressor().fit(X, Y).predict(X)
    predicted = regressor().fit(X, Y, sample_weight=np.full(40, scale)).predict(X)
    np.testing.assert_allclose(predicted, expected, rtol=1e-6)


# -- fit's own arguments, and the user's validation set ------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    rows(
        {
            "epochs": [0, "a", 1.5],
            "batch_size": [0, "a", 1.5],
            "verbose": [-1, "a"],
            "callbacks": [3, [3], "a", {"a": 1}],
        }
    ),
)
def test_bad_fit_argument(name, value):
    assert_refused(regressor(), X, Y, rf"\b{name}\b", **{name: value})


@pytest.mark.parametrize(
    ("fit", "match"),
    [
        ({"X_val": X}, "X_val was given without y_val"),
        ({"y_val": Y}, "y_val was given without X_val"),
        ({"sample_weight_val": Y}, "sample_weight_val was given without"),
        ({"X_val": X, "y_val": Y, "validation_data": (X, Y)}, "not both"),
        (
            {"validation_data": (X, Y, np.ones(40)), "sample_weight_val": np.ones(40)},
            "not both|sample_weight_val",
        ),
        ({"validation_data": 3}, "validation_data must be"),
        ({"validation_data": X}, "validation_data must be"),
        ({"validation_data": (X,)}, "validation_data must be"),
        ({"validation_data": (X, Y, None, 1)}, "validation_data must be"),
        ({"validation_data": (X, None)}, "validation_data|y_val"),
        ({"validation_data": (None, None)}, "validation_data"),
        ({"validation_data": (X[:, :2], Y)}, "2 features"),
        ({"validation_data": (X, Y[:-1])}, "inconsistent numbers of samples"),
        ({"validation_data": (X, np.c_[Y, Y])}, r"\(40, 2\)"),
        ({"validation_data": (X[:0], Y[:0])}, "0 sample"),
        ({"X_val": with_value(X, np.nan), "y_val": Y}, "X.* contains NaN"),
        ({"X_val": X, "y_val": with_value(Y, np.nan)}, "y.* contains NaN"),
        ({"X_val": X[:, :, None], "y_val": Y}, "rows of shape"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_bad_validation_set(fit, match):
    assert_refused(regressor(), X, Y, match, **fit)


def test_validation_set_with_other_feature_names():
    for bad in (FRAME[["c", "b", "a"]], FRAME[["a", "b"]]):
        assert_refused(regressor(), FRAME, Y, "feature names", X_val=bad, y_val=Y)


@pytest.mark.parametrize(
    ("y", "y_val"),
    [
        (TWO, TWO + 5),
        (TWO, TWO.astype(str)),
        (TWO, Y),
        (TWO, np.c_[TWO, TWO]),
        (TWO.astype(str), TWO),
        (np.c_[TWO, 1 - TWO], TWO),
        (np.c_[TWO, 1 - TWO], np.c_[THREE, THREE]),
        (np.c_[TWO, 1 - TWO], np.c_[Y, Y]),
    ],
)
def test_validation_labels_that_were_not_fitted(y, y_val):
    assert_refused(classifier(), X, y, r"\by(_val)?\b", X_val=X, y_val=y_val)


# -- build functions ----------------------------------------------------------------


def needs_more(units, depth=2):
    return network(units)


def two_outputs():
    rows = keras.Input((3,))
    return keras.Model(rows, [layers.Dense(1)(rows), layers.Dense(1)(rows)])


def named_outputs():
    rows = keras.Input((3,))
    return keras.Model(rows, {n: layers.Dense(1)(rows) for n in "ab"})


def two_inputs():
    a, b = keras.Input((3,)), keras.Input((3,))
    return keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))


def positional_only(a, /):
    return network(a)


class NoCall(keras.Model):
    pass


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: None, "must return a keras.Model; it returned NoneType"),
        (lambda: layers.Dense(1), "it returned Dense"),
        (lambda: network(2), r"outputs of shape \(2,\)"),
        (lambda: network(1, (5,)), r"rows of shape \(3,\)"),
        (lambda: keras.Sequential(), r"rows of shape \(3,\)"),
        (lambda: compiled_network(loss=None), "without a loss"),
        (two_outputs, "one output"),
        (named_outputs, "one output"),
        (two_inputs, r"rows of shape \(3,\)"),
        (lambda: NoCall(), "NoCall"),
    ],
)
def test_bad_build_function(build, match):
    assert_refused(plain(build), X, Y, match, error=ModelError)


def test_error_of_a_build_function_is_short():
    with pytest.raises(ModelError) as raised:
        plain(lambda: network(1, (5,))).fit(X, Y)
    assert "\x1b" not in str(raised.value)  # Keras colours its messages.


@pytest.mark.parametrize("build", [needs_more, positional_only])
def test_build_function_that_needs_more(build):
    assert_refused(plain(build), X, Y, f"{build.__name__}.*needs")


def test_build_function_that_raises():
    def broken():
        raise RuntimeError("boom")

    assert_refused(plain(broken), X, Y, "boom", error=RuntimeError)


@pytest.mark.parametrize(
    "model", [lambda: network(2), network(1), compiled_network(outputs=2)]
)
def test_network_too_narrow_for_the_classes(model):
    estimator = plain(model, MLPKerasClassifier)
    assert_refused(estimator, X, THREE, "outputs of shape", error=ModelError)


def subclassed():
    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, rows):
            return self.dense(rows)

    return Network()


@pytest.mark.parametrize(
    "model",
    [
        lambda: network(),
        lambda: compiled_network(),
        network(),
        compiled_network(),
        subclassed,
        lambda: keras.Sequential([layers.Dense(1)]),
        lambda **kwargs: network(),
    ],
)
def test_odd_but_good_model(model):
    assert plain(model).fit(X, Y).predict(X).shape == (40,)


@pytest.mark.parametrize(
    "params",
    [
        {"loss": "mae"},
        {"metrics": ["mae"]},
        {"optimizer": "sgd"},
        {"learning_rate": 0.5},
        {"n_hidden": 5},
        {"dropout": 0.5},
        {"n_neurons": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("model", [lambda: compiled_network(), compiled_network()])
def test_parameter_without_effect(params, model):
    (name,) = params
    assert_refused(plain(model, **params), X, Y, f"{name}=.* no effect")


def test_model_kwargs_for_a_ready_model():
    estimator = plain(network(), model_kwargs={"a": 1})
    assert_refused(estimator, X, Y, "model_kwargs")


def test_linear_outputs_of_a_classifier():
    # Crossentropy of what is no probability trains nothing at all.
    estimator = plain(lambda: network(3), MLPKerasClassifier, epochs=100)
    assert_refused(estimator, X, THREE, "from_logits")


# -- predict ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_unfitted(method):
    with pytest.raises(NotFittedError):
        getattr(MLPKerasClassifier(), method)(X)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (X[:, :2], "2 features"),
        (np.c_[X, X], "6 features"),
        (X[:, :, None], "rows of shape"),
        (X[0], "Expected 2D array"),
        (X[:0], "0 sample"),
        (with_value(X, np.nan), "contains NaN"),
        (with_value(X, np.inf), "contains infinity"),
        (X.astype(str), "numeric"),
        (None, "Expected 2D array"),
    ],
)
def test_predict_on_bad_rows(bad, match):
    model = regressor().fit(X, Y)
    with pytest.raises(ValueError, match=match):
        model.predict(bad)


@pytest.mark.parametrize("columns", [["c", "b", "a"], ["a", "b", "z"]])
def test_predict_on_other_feature_names(columns):
    model = regressor().fit(FRAME, Y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(pd.DataFrame(X, columns=columns))


# -- fit again ----------------------------------------------------------------------


def test_fit_again_with_another_width():
    model = regressor().fit(X, Y).fit(X[:, :2], Y)
    assert model.n_features_in_ == 2
    assert model.predict(X[:, :2]).shape == (40,)


@pytest.mark.parametrize(
    ("again", "match"),
    [
        ((X[:, :2], TWO), "2 features"),
        ((X, THREE), "labels"),
        ((X, np.c_[TWO, TWO]), r"\(40, 2\)"),
    ],
)
@pytest.mark.parametrize("way", ["partial_fit", "warm_start"])
def test_go_on_with_other_data(again, match, way):
    model = classifier(warm_start=way == "warm_start").fit(X, TWO)
    before = model.predict_proba(X)
    go_on = model.fit if way == "warm_start" else model.partial_fit
    with pytest.raises(ValueError, match=match):
        go_on(*again)
    assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize(
    ("y", "classes", "match"),
    [
        (THREE, [0, 1], "classes"),
        (TWO, ["a", "b"], "classes"),
        (TWO, "ab", "classes"),
        (TWO * 0, None, "one class"),
        (TWO, [0, 1, np.nan], "NaN|classes"),
    ],
)
def test_bad_classes(y, classes, match):
    model = classifier()
    with pytest.raises(ValueError, match=match):
        model.partial_fit(X, y, classes=classes)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


def test_other_classes_later():
    model = classifier().partial_fit(X, TWO, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes"):
        model.partial_fit(X, TWO, classes=[0, 1])
    assert model.partial_fit(X, THREE).predict_proba(X).shape == (40, 3)


def test_the_users_objects_stay_as_they_were():
    optimizer = keras.optimizers.Adam(0.01)
    loss, metric = keras.losses.Huber(2.0), keras.metrics.MeanAbsoluteError()
    callback = keras.callbacks.EarlyStopping(monitor="loss", patience=1)
    before = dict(vars(callback))
    model = regressor(
        optimizer=optimizer, loss=loss, metrics=[metric], callbacks=[callback]
    )
    first, second = model.fit(X, Y).predict(X), model.fit(X, Y).predict(X)
    assert_array_equal(first, second)
    assert not optimizer.built
    assert vars(callback) == before
    assert float(metric.result()) == 0.0


def test_no_warnings_on_good_input():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        regressor(early_stopping=True).fit(X, Y).predict(X)
        classifier(early_stopping=True).fit(X, THREE).predict_proba(X)
