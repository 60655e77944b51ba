"""Layers that are frozen or unfrozen after the optimizer was built."""

import copy
import pickle

import keras
import numpy as np
import pytest
import user_models
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.exceptions import ModelError

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X)
SMALL = {"n_hidden": 1, "n_neurons": 4, "epochs": 2, "random_state": 0}


def ready_model(optimizer="adam", frozen=()):
    layers = [keras.layers.Dense(4), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((10,)), *layers])
    for position in frozen:
        model.layers[position].trainable = False
    model.compile(optimizer, "mse")
    return model


def scaled_loss():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())


ESTIMATORS = {
    "small": lambda: MLPKerasRegressor(**SMALL),
    "loss scale": lambda: MLPKerasRegressor(**SMALL, optimizer=scaled_loss()),
    "by Keras": lambda: MLPKerasRegressor(**SMALL, engine="keras"),
    "ready": lambda: MLPKerasRegressor(ready_model(), epochs=2, random_state=0),
    "subclassed": lambda: MLPKerasRegressor(
        user_models.build_subclassed, epochs=2, random_state=0
    ),
}
COPIES = {"pickle": lambda m: pickle.loads(pickle.dumps(m)), "copy": copy.deepcopy}


@pytest.mark.filterwarnings("ignore:The model does not have any trainable")
@pytest.mark.parametrize("frozen", ["a layer", "all"])
@pytest.mark.parametrize("begin", ["fit", "initialize"])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_copies_go_on_as_the_frozen_one_does(kind, begin, frozen):
    model = getattr(ESTIMATORS[kind](), begin)(X, y)
    network = model.model_
    (network.layers[0] if frozen == "a layer" else network).trainable = False
    copies = {way: copied(model) for way, copied in COPIES.items()}
    expected = model.partial_fit(X, y).predict(X)
    n_trainable = len(network.trainable_variables)
    for way, again in copies.items():
        assert len(again.model_.trainable_variables) == n_trainable, way
        found = again.partial_fit(X, y).predict(X)
        np.testing.assert_array_equal(found, expected, way)


@pytest.mark.parametrize("copied", [clone, *COPIES.values()])
@pytest.mark.parametrize("make", [lambda: "adam", scaled_loss])
def test_a_ready_model_is_copied_with_the_state_of_its_optimizer(copied, make):
    ready = ready_model(make())
    ready.fit(X, y, verbose=0)
    ready.layers[0].trainable = False
    again = copied(MLPKerasRegressor(ready)).model
    pairs = zip(ready.optimizer.variables, again.optimizer.variables, strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_layer_unfrozen_in_a_copy_goes_on_as_in_the_original():
    model = MLPKerasRegressor(**SMALL).fit(X, y)
    model.model_.layers[0].trainable = False
    again = pickle.loads(pickle.dumps(model))
    for each in (model, again):
        each.model_.layers[0].trainable = True
        each.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict(X), again.predict(X))


@pytest.mark.parametrize("engine", ["auto", "compiled", "keras"])
@pytest.mark.parametrize("frozen", [[0], [0, 1]])
def test_what_the_optimizer_does_not_know_is_told_before_training(frozen, engine):
    ready = ready_model(frozen=frozen)
    model = MLPKerasRegressor(ready, engine=engine, epochs=2, random_state=0)
    model.initialize(X, y)
    before = model.predict(X)
    for layer in model.model_.layers:
        layer.trainable = True
    with pytest.raises(ModelError, match="Compile `model_` anew"):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
    model.model_.compile("adam", "mse")
    model.partial_fit(X, y)
    assert not np.array_equal(model.predict(X), before)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_averages_that_keras_would_misplace_are_told_before_training(engine, scaled):
    optimizer = keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=3)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = MLPKerasRegressor(**SMALL, optimizer=optimizer, engine=engine).fit(X, y)
    before = model.predict(X)
    model.model_.layers[0].trainable = False
    with pytest.raises(ModelError, match=r"use_ema=True, .* Compile `model_` anew"):
        model.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
    model.model_.compile("adam", "mse")
    model.partial_fit(X, y)
    assert not np.array_equal(model.predict(X), before)


def test_averages_go_on_where_only_the_last_layers_were_frozen():
    weights = []
    for engine in ("auto", "keras"):
        averaging = {"use_ema": True, "ema_overwrite_frequency": 3}
        model = MLPKerasRegressor(
            **SMALL, optimizer_kwargs=averaging, engine=engine, shuffle=False
        )
        model.fit(X, y).model_.layers[1].trainable = False
        weights.append(model.partial_fit(X, y).model_.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
