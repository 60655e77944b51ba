"""Networks that Keras cannot make again, or makes otherwise, of their configuration."""

import copy
import functools
import pickle

import keras
import numpy as np
import pytest
import user_models
from keras import layers
from sklearn.base import clone

from skann import MLPKerasRegressor
from skann._keras import round_trip
from skann.exceptions import ModelError

X = np.random.default_rng(0).normal(size=(40, 4))
y = X.sum(axis=1)
GIVEN = {"epochs": 2, "random_state": 0}


class Keeps(layers.Layer):
    """Has an argument that its configuration does not know."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return super().get_config()


class Needs(Keeps):
    """Cannot be made without it."""

    def __init__(self, factor, **kwargs):
        super().__init__(factor, **kwargs)


class Fails(Keeps):
    def get_config(self):
        raise NotImplementedError("no configuration")


class Takes(Keeps):
    """Takes out of its configuration what it reads."""

    def get_config(self):
        return {**super().get_config(), "how": {"factor": self.factor}}

    @classmethod
    def from_config(cls, config):
        return cls(config.pop("how").pop("factor"), **config)


class Around(layers.Wrapper):
    def call(self, inputs):
        return self.layer(inputs)


class Slowed(keras.optimizers.SGD):
    def __init__(self, share=1.0, **kwargs):
        super().__init__(**kwargs)
        self.share = share

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, self.share * learning_rate)

    def get_config(self):
        return super().get_config()


class Times(keras.constraints.Constraint):
    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, w):
        return w * self.factor


class Power:
    """An activation that is no function."""

    def __init__(self, exponent=1):
        self.exponent = exponent

    def __call__(self, z):
        return z**self.exponent

    def get_config(self):
        return {}


def network(layer):
    model = keras.Sequential([layers.Input((4,)), layer, layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def attribute_set():
    layer = layers.Dense(3)
    layer.call = lambda x, training=None: 2 * layers.Dense.call(layer, x)
    return layer


LOSSY = {
    "an argument": lambda: Keeps(0.25),
    "a needed argument": lambda: Needs(0.25),
    "no configuration": lambda: Fails(0.25),
    "an argument of Keras' own": lambda: layers.Dense(3, autocast=False),
    "a method put in": attribute_set,
    "a constraint": lambda: layers.Dense(3, kernel_constraint=Times(0.5)),
    "an activation": lambda: layers.Dense(3, activation=Power(2)),
    "a layer within": lambda: Around(Keeps(0.25)),
    "a model within": lambda: keras.Sequential([Keeps(0.25)]),
}


def build(kind):
    return network(LOSSY[kind]())


def build_slowed():
    model = network(layers.Dense(3))
    model.compile(Slowed(0.1), "mse")
    return model


def assert_comes_back(model):
    again = copy.deepcopy(pickle.loads(pickle.dumps(model)))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    for each in (model, again):
        each.partial_fit(X, y)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


@pytest.mark.parametrize("kind", LOSSY)
def test_a_build_function_is_asked_again(kind):
    given = {"model_kwargs": {"kind": kind}, **GIVEN}
    assert_comes_back(MLPKerasRegressor(build, **given).fit(X, y))


def test_an_optimizer_that_says_less_than_it_holds():
    assert_comes_back(MLPKerasRegressor(build_slowed, **GIVEN).fit(X, y))
    own = MLPKerasRegressor(n_hidden=1, optimizer=Slowed(0.1), engine="keras", **GIVEN)
    assert_comes_back(own.fit(X, y))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("an argument", "Keeps 'keeps.*' is another one then"),
        ("a model within", "Keeps 'keeps.*' is another one then"),
        ("a needed argument", "factor"),
        ("no configuration", "no configuration"),
    ],
)
def test_a_ready_model_that_cannot_be_copied_is_told_at_once(kind, why):
    ready = build(kind)
    told = f"cannot be copied or pickled.*{why}.*build function"
    for work in (
        lambda: MLPKerasRegressor(ready, **GIVEN).fit(X, y),
        lambda: pickle.dumps(MLPKerasRegressor(ready)),
        lambda: copy.deepcopy(MLPKerasRegressor(ready)),
        lambda: clone(MLPKerasRegressor(ready)),
    ):
        with pytest.raises(ModelError, match=told) as raised:
            work()
        assert "\n" not in str(raised.value)


def test_keras_own_layer_is_told_too():
    x = layers.Input((4, 4, 3))
    shear = layers.RandomShear(0.5, 0.5)(x)
    ready = keras.Model(x, layers.Dense(1)(layers.Flatten()(shear)))
    with pytest.raises(ModelError, match=r"pickled.*RandomShear: The `factor"):
        pickle.dumps(MLPKerasRegressor(ready))


SOUND = {
    "a layer": user_models.build_with_custom_layer,
    "layers of layers": user_models.build_residual,
    "a draw": user_models.build_with_global_draws,
    "what is taken": lambda input_shape: network(Takes(0.5)),
    "a recurrent one": lambda input_shape: network(
        keras.Sequential([layers.Reshape((2, 2)), layers.GRU(2)])
    ),
    "metrics": lambda input_shape: compiled_with_metric(),
}


def compiled_with_metric():
    model = network(user_models.Scaled(2.0))
    optimizer = user_models.HalfSteps(0.25, momentum=0.5)
    model.compile(optimizer, "mse", metrics=[user_models.LargestError(2), "mae"])
    return model


@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize("kind", SOUND)
def test_what_comes_back_by_its_configuration_does(kind, engine):
    model = MLPKerasRegressor(SOUND[kind], engine=engine, **GIVEN).fit(X, y)
    assert round_trip.frozen(model.model_, is_only_way=False) is not None


def test_common_networks_are_not_made_twice(monkeypatch):
    monkeypatch.setattr(round_trip.serialisation, "deserialise", pytest.fail)
    for params in (
        {"n_hidden": 1, "dropout": 0.2, "normalization": "batch"},
        {"l2": 1e-3, "activation": user_models.bent, "metrics": ["mae"]},
        {"loss": user_models.Quantile(0.2)},
        {"model": user_models.build_functional},
        {"model": user_models.build_tutorial, "model_kwargs": {"input_shape": [4]}},
    ):
        pickle.dumps(MLPKerasRegressor(**{**GIVEN, **params}).fit(X, y))


class CompilesAnew(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mae")


def test_what_its_function_does_not_build_is_told_by_the_pickle():
    model = MLPKerasRegressor(functools.partial(build, "an argument"), **GIVEN)
    with pytest.raises(ModelError, match="cannot be copied or pickled"):
        pickle.dumps(clone(model).fit(X, y, callbacks=[CompilesAnew()]))
    model.fit(X, y).model_ = network(layers.Dense(2))
    assert_comes_back(model)
    model.model_ = network(keras.Sequential([Keeps(0.25), layers.Dense(3)]))
    with pytest.raises(ModelError, match="cannot be copied or pickled"):
        pickle.dumps(model)


def test_what_was_compiled_anew_comes_back_so_where_it_can():
    model = MLPKerasRegressor(user_models.Lazy, **GIVEN)
    assert_comes_back(model.fit(X, y, callbacks=[CompilesAnew()]))
