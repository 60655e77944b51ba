"""Values that nobody should give: one clear line before training, and no memory."""

import resource
from pathlib import Path

import keras
import numpy as np
import pytest
from names import named

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._network.size import memory

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ [1.0, 2.0, -1.0]
FEW = {"epochs": 2, "random_state": 0}


class NoTraining(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        raise AssertionError("training began")


def refused(cls=MLPKerasRegressor, y=Y, **params):
    """Return the message of the error that names what is wrong, before training."""
    model = cls(**{**FEW, **params})
    before = dict(vars(model))
    with pytest.raises((ValueError, TypeError)) as caught:
        model.fit(X, y, callbacks=[NoTraining()])
    message = str(caught.value)
    assert vars(model) == before
    assert "\n" not in message
    assert "\x1b" not in message
    return message


@pytest.fixture
def little_memory():
    """So much that a test fails, and not the machine, where too much is asked for."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (used * resource.getpagesize() + 4 * 2**30, before[1])
    )
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def build(n_hidden=1, n_neurons=30, input_shape=(1,)):
    layers = [keras.layers.Dense(n_neurons) for _ in range(n_hidden)]
    return keras.Sequential([keras.Input(input_shape), *layers, keras.layers.Dense(1)])


@pytest.mark.parametrize(
    "params",
    [
        {"n_neurons": 10**10},
        {"n_neurons": 10**12},
        {"n_neurons": 10**30},
        {"n_neurons": 10**400},
        {"n_neurons": 10**6},
        {"n_hidden": 10**9},
        {"n_hidden": 2**62},
        {"n_hidden": 10**30},
        {"n_hidden": 10**400},
        {"hidden_layer_sizes": [10**6, 10**6]},
        {"hidden_layer_sizes": [10**30]},
        {"hidden_layer_sizes": np.array([2**62])},
        {"hidden_layer_sizes": (10**6,) * 4},
    ],
    ids=lambda params: f"{params}"[:30],
)
def test_networks_that_no_memory_can_hold(params, little_memory):
    (name,) = params
    message = refused(**params)
    assert f"{name}=" in message
    assert "memory" in message
    assert len(message) < 300


@pytest.mark.parametrize("way", ["estimator", "model_kwargs"])
@pytest.mark.parametrize(
    ("name", "value"), [("n_neurons", 10**12), ("n_hidden", 10**9)]
)
def test_a_build_function_is_not_asked_for_such_a_network(way, name, value):
    params = {name: value}
    message = refused(
        model=build, **(params if way == "estimator" else {"model_kwargs": params})
    )
    assert f"{name}=" in message


def test_a_network_of_some_size_is_built():
    assert memory() > 2**30
    model = MLPKerasRegressor(hidden_layer_sizes=[3000, 1000], **FEW).initialize(X, Y)
    assert model.model_.count_params() > 3_000_000


@pytest.mark.parametrize("size", [2**31, 2**62, 10**30, np.uint64(2**63)])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_a_batch_larger_than_the_data_is_all_of_it(size, engine):
    def fitted(size, **params):
        model = MLPKerasRegressor(batch_size=size, engine=engine, **params, **FEW)
        return model.fit(X, Y).predict(X)

    expected = fitted(len(X))
    np.testing.assert_allclose(fitted(size), expected, rtol=1e-6)
    wide = {"dropout": 0.1}  # Not in NumPy.
    np.testing.assert_allclose(fitted(size, **wide), fitted(40, **wide), rtol=1e-5)


@pytest.mark.parametrize("sizes", [np.array(3), np.array("x"), np, 3, "ab", [[3]]])
def test_sizes_that_are_no_sequence(sizes):
    assert "hidden_layer_sizes" in refused(hidden_layer_sizes=sizes)


@pytest.mark.parametrize(
    "metrics",
    [
        ["MeanIoU"],
        "MeanIoU",
        [keras.metrics.MeanIoU],
        ["mae", "SensitivityAtSpecificity"],
        [keras.metrics.TopKCategoricalAccuracy, keras.metrics.PrecisionAtRecall],
    ],
)
def test_metrics_that_need_arguments(metrics):
    assert "metrics" in refused(metrics=metrics)
    assert "compile_kwargs" in refused(compile_kwargs={"weighted_metrics": metrics})


NO_NUMBERS = [
    *(np.nan, -np.inf, 1j, "x", b"", [], [1, 2], {"a": 1}, object()),
    np.array([1, 2]),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=named)
@pytest.mark.parametrize("name", ["beta_1", "epsilon", "weight_decay", "clipnorm"])
def test_no_numbers_for_an_optimizer(name, value):
    message = refused(optimizer="adamw", optimizer_kwargs={name: value})
    assert "optimizer_kwargs" in message


@pytest.mark.parametrize(
    "kwargs",
    [
        {"beta_1": 1.0},
        {"beta_1": -1},
        {"beta_2": 2.0},
        {"epsilon": None},
        {"beta_1": None},
        {"beta_2": 10**400},
    ],
    ids=named,
)
def test_arguments_by_which_an_optimizer_cannot_step(kwargs):
    assert "optimizer_kwargs" in refused(optimizer_kwargs=kwargs)


NOTHING_FOR_COMPILE = [np.nan, np.inf, -1, "x", b"", [1, 2], {}, object(), 1j]


@pytest.mark.parametrize("value", NOTHING_FOR_COMPILE, ids=named)
@pytest.mark.parametrize(
    "name",
    [
        *("loss_weights", "run_eagerly", "jit_compile"),
        *("auto_scale_loss", "steps_per_execution"),
    ],
)
def test_what_compile_cannot_take(name, value):
    assert f"compile_kwargs has {name}" in refused(compile_kwargs={name: value})


@pytest.mark.parametrize("weight", [2, np.float16(2), np.array(2), [2.0], {"y": 2}])
def test_weights_of_the_one_loss(weight):
    def loss(**compile_kwargs):
        model = MLPKerasRegressor(
            compile_kwargs=compile_kwargs, learning_rate=1e-9, **FEW
        )
        return model.fit(X, Y).history_["loss"][0]

    assert loss(loss_weights=weight) == pytest.approx(2 * loss(), rel=1e-4)


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint8", "nope", 3, "string"])
def test_types_in_which_a_loss_cannot_be_computed(dtype):
    assert "loss_kwargs" in refused(loss="huber", loss_kwargs={"dtype": dtype})


@pytest.mark.parametrize("name", ["activation", "output_activation"])
@pytest.mark.parametrize(
    "value", [lambda: None, float, keras.layers.Dense(1), keras.Model, Exception]
)
def test_activations_that_cannot_be_computed(name, value):
    assert f"{name}=" in refused(**{name: value})


def test_an_initializer_that_needs_arguments():
    assert "kernel_initializer='constant'" in refused(kernel_initializer="constant")


def test_what_keras_says_is_the_cause():
    model = MLPKerasRegressor(activation=lambda z: keras.ops.matmul(z, z), **FEW)
    with pytest.raises(ValueError, match="activation=") as caught:
        model.fit(X, Y)
    assert caught.value.__cause__ is not None


def test_a_layer_is_no_model():
    assert "model=" in refused(model=keras.layers.Dense(1))


class Subclass(keras.Model):
    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.out = keras.layers.Dense(units), keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.hidden(x))


def test_a_class_passes_its_further_keywords_to_keras():
    model = MLPKerasRegressor(Subclass, model_kwargs={"name": "mine"}, **FEW).fit(X, Y)
    assert model.model_.name == "mine"
    assert "n_hidden=2" in refused(model=Subclass, n_hidden=2)


@pytest.mark.parametrize(
    "params",
    [
        {"kernel_initializer": "zeros"},
        {"kernel_initializer": keras.initializers.Constant(0.1)},
        {"dtype": "float16", "l2": 0.01, "optimizer": "sgd"},
        {"dtype": "bfloat16", "l1": 0.01, "normalization": "batch"},
        {"dtype": "mixed_float16", "l2": 0.01},
        {"n_hidden": 0, "dtype": "float16", "l2": 0.01, "engine": "keras"},
    ],
    ids=named,
)
@pytest.mark.parametrize("cls", [MLPKerasRegressor, MLPKerasClassifier])
def test_odd_and_good(cls, params):
    y = Y if cls is MLPKerasRegressor else (Y > 0).astype(int)
    model = cls(**params, **FEW).fit(X, y)
    assert len(model.predict(X)) == len(X)
    assert np.isfinite(model.history_["loss"]).all()
