"""Every optimizer of Keras': fitted, saved, gone on with, and loaded by Keras."""

import copy
import pickle
import warnings

import keras
import numpy as np
import pytest
import user_models
from thinned import thinned

from skann import MLPKerasRegressor

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X[:, 0]

OTHERS = {
    "LossScaleOptimizer": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01)
    ),
    "MultiOptimizer": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.SGD(0.01, momentum=0.9),
            {".*kernel": keras.optimizers.Adam(0.01)},
        )
    ),
}


def all_optimizers():
    """Return what makes each optimizer that Keras has, by its name."""
    classes = {
        name: thing
        for name, thing in vars(keras.optimizers).items()
        if isinstance(thing, type)
        and issubclass(thing, keras.optimizers.Optimizer)
        and thing is not keras.optimizers.Optimizer
    }
    plain = {name: cls for name, cls in classes.items() if name not in OTHERS}
    return {
        **{name: lambda cls=cls: cls(0.01) for name, cls in plain.items()},
        **OTHERS,
    }


OPTIMIZERS = all_optimizers()

# Each ending with another engine and type, so that every optimizer meets all of them.
WAYS = {
    ".h5": {"engine": "keras"},
    ".keras": {"dtype": "mixed_float16"},
    ".weights.h5": {"dtype": "float32"},
}

WAY = list(WAYS)

# What Keras' own reader of .h5 files lacks: it makes an optimizer by its class' name,
# of which it has a list without these; and it builds none that holds others.
NOT_READ_FROM_H5 = {"Lamb", "ScheduleFreeAdamW", "MultiOptimizer"}


def regressor(name, **params):
    given = {"n_hidden": 1, "n_neurons": 4, "epochs": 2, "random_state": 0, **params}
    return MLPKerasRegressor(optimizer=OPTIMIZERS[name](), **given)


def assert_goes_on_as(again, model):
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert type(again.model_.optimizer) is type(model.model_.optimizer)
    mine, yours = again.model_.optimizer.variables, model.model_.optimizer.variables
    for one, other in zip(mine, yours, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), one.path)
    again.partial_fit(X, Y)
    expected = copy.deepcopy(model).partial_fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), expected.predict(X))


@pytest.mark.parametrize(
    ("name", "ending"),
    # Every optimizer by one way, and the slow tests by the other two.
    [
        case
        for i, name in enumerate(OPTIMIZERS)
        for case in thinned([(name, ending) for ending in WAYS], {(name, WAY[i % 3])})
    ],
)
def test_every_optimizer_after_a_checkpoint(name, ending, tmp_path):
    path = tmp_path / f"best{ending}"
    given = {"checkpoint_path": path, "monitor": "loss", **WAYS[ending]}
    model = regressor(name, **given).fit(X, Y)
    assert_goes_on_as(pickle.loads(pickle.dumps(model)), model)
    assert_loads(path, name, model)


def assert_loads(path, name, model):
    """Load the file by Keras alone: network, optimizer, and its state."""
    expected = model.model_
    if path.name.endswith(".weights.h5"):
        loaded = keras.models.clone_model(expected)
        loaded.load_weights(path)
    else:
        compiles = path.suffix == ".keras" or name not in NOT_READ_FROM_H5
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of .h5, and of state that is not there.
            loaded = keras.models.load_model(path, compile=compiles)
        if compiles:
            assert type(loaded.optimizer) is type(expected.optimizer)
    # The file is of the best epoch, which is the last here.
    assert model.best_epoch_ == 1
    rows = X.astype(expected.inputs[0].dtype)
    found = loaded.predict(rows, verbose=0)
    np.testing.assert_allclose(found, expected.predict(rows, verbose=0), rtol=1e-6)


def test_an_optimizer_that_cannot_take_float64_is_an_error():
    with pytest.raises(ValueError, match=r"optimizer=Muon cannot .* float64"):
        regressor("Muon", dtype="float64").fit(X, Y)


def test_a_small_fit_takes_the_precision_that_the_optimizer_has():
    for optimizer, dtype in (
        ("adam", "float64"),
        ("Muon", "float32"),
        (keras.optimizers.Muon, "float32"),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.Muon()), "float32"),
        (user_models.HalfSteps(), "float64"),
    ):
        model = MLPKerasRegressor(optimizer=optimizer, epochs=1, n_neurons=4)
        assert model.fit(X, Y).model_.layers[0].dtype == dtype, optimizer


@pytest.mark.parametrize("name", ["Adam", "SGD", "Adagrad"])
def test_a_file_that_the_user_writes_leaves_the_network_its_optimizer(name, tmp_path):
    model = regressor(name).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.model_.save(tmp_path / "network.h5")
    assert_goes_on_as(pickle.loads(pickle.dumps(model)), model)
    ready = MLPKerasRegressor(model.model_, epochs=1).fit(X, Y)
    assert type(ready.model_.optimizer) is type(model.model_.optimizer)


def test_two_learning_rates_are_an_error():
    own = {"learning_rate": 0.001}
    model = MLPKerasRegressor(optimizer_kwargs=own, learning_rate=0.01, epochs=1)
    with pytest.raises(ValueError, match=r"^learning_rate=0\.01 would have no effect"):
        model.fit(X, Y)
    for rate in (None, 0.001):
        model.set_params(learning_rate=rate).fit(X, Y)
        assert float(model.model_.optimizer.learning_rate) == pytest.approx(0.001)
