"""Keras' objects: skann leaves them as they are, and loses nothing of them."""

import copy
import functools
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import user_models
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skann import MLPKerasRegressor
from skann._keras.packing import packed
from skann.exceptions import EngineError

X = np.random.default_rng(0).normal(size=(40, 8))
Y = X[:, 0]

BEFORE_AND_AFTER = """
import copy, io, pickle, sys
import keras
{first}
CLASSES = (
    keras.Model, keras.losses.Loss, keras.metrics.Metric, keras.optimizers.Optimizer,
)

def attributes():
    from keras.src.saving import serialization_lib
    # Python itself adds annotations where somebody looks for them.
    held = [{{**vars(c), "__annotations__": None}} for c in CLASSES]
    return held, serialization_lib.inspect

before = attributes()
import skann
assert attributes() == before

import numpy as np
model = skann.MLPKerasRegressor(epochs=1, loss=keras.losses.Huber(0.5))
model.fit(np.eye(4), np.arange(4.0))
pickle.dumps(model)
copy.deepcopy(model)
assert attributes() == before

network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
for thing in (network, keras.optimizers.SGD(), keras.losses.Huber(), model.model_):
    saved = pickle.dumps(thing)
    if {is_plain}:
        assert b"skann" not in saved and b"scikeras" not in saved
    assert type(copy.deepcopy(thing)) is type(thing)
"""


@pytest.mark.parametrize("first", ["", "import scikeras"])
def test_keras_classes_are_as_they_were(first):
    code = BEFORE_AND_AFTER.format(first=first, is_plain=not first)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


class WithParts(keras.callbacks.Callback):
    """Holds what Keras would pickle, and lose something of."""

    def __init__(self, loss):
        super().__init__()
        self.parts = {"losses": [loss]}


def build_with_parts(input_shape, loss=None, layers=()):
    model = user_models.build_tutorial(input_shape=list(input_shape))
    model.compile(loss=loss, optimizer="adam")
    return model


def huber_in(holder):
    """Return the loss that a parameter holds, somewhere."""
    if isinstance(holder, WithParts):
        holder = holder.parts
    if isinstance(holder, functools.partial):
        holder = holder.keywords
    if isinstance(holder, dict):
        holder = next(iter(holder.values()))
    if isinstance(holder, (list, tuple)):
        holder = holder[0]
    return holder if isinstance(holder, keras.losses.Huber) else huber_in(holder)


HOLDERS = {
    "loss": lambda loss: {"loss": loss},
    "model_kwargs": lambda loss: {
        "model": build_with_parts,
        "model_kwargs": {"loss": loss},
    },
    "partial": lambda loss: {"model": functools.partial(build_with_parts, loss=loss)},
    "callbacks": lambda loss: {"callbacks": [WithParts(loss)]},
}
COPIES = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
    "clone": clone,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_loss_among_the_parameters_keeps_its_arguments(holder, way):
    given = HOLDERS[holder](keras.losses.Huber(0.25))
    model = MLPKerasRegressor(epochs=1, random_state=0, **given)
    again = COPIES[way](model)
    for name in given:
        if name != "model" or holder == "partial":
            loss = huber_in(getattr(again, name))
            assert loss is not huber_in(getattr(model, name))
            assert loss._fn_kwargs == {"delta": 0.25}
    expected = model.fit(X, Y).predict(X)
    np.testing.assert_array_equal(again.fit(X, Y).predict(X), expected)


@pytest.mark.parametrize("way", COPIES)
def test_optimizers_hold_others_of_the_users(way):
    inner = user_models.HalfSteps(0.25, learning_rate=0.1)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    model = MLPKerasRegressor(optimizer=optimizer, epochs=1, random_state=0)
    again = COPIES[way](model)
    assert again.optimizer.inner_optimizer.share == 0.25
    model.fit(X, Y)
    np.testing.assert_array_equal(
        COPIES[way](model).fit(X, Y).predict(X), model.predict(X)
    )


def test_what_is_one_object_stays_one():
    loss = keras.losses.Huber(0.25)
    model = MLPKerasRegressor(loss=loss, warm_start=True)
    model.set_params(epochs=1, random_state=0).fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    # Another loss than that of the network would be an error here.
    assert again.fit(X, Y).n_iter_ == 2


def test_a_shallow_copy_has_the_same_parameters():
    loss = keras.losses.Huber(0.25)
    model = MLPKerasRegressor(loss=loss, epochs=1, random_state=0).fit(X, Y)
    again = copy.copy(model)
    assert again.loss is loss
    assert again.model_ is not model.model_
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_what_holds_nothing_of_keras_is_not_replaced():
    things = [{"a": [1, "b", (2.0,)]}, {1, 2}, functools.partial(print, 1), X]
    things += [keras.callbacks.EarlyStopping(), {"learning_rate": 0.1}]
    for thing in things:
        assert packed(thing) is thing
    loop = []
    loop.append(loop)
    assert packed(loop) is loop


def test_a_grid_of_objects_of_keras():
    grid = {
        "loss": [keras.losses.MeanSquaredError(), keras.losses.LogCosh()],
        "optimizer": [keras.optimizers.SGD(0.01), keras.optimizers.SGD(0.1)],
        "metrics": [[keras.metrics.MeanAbsoluteError()]],
    }
    model = MLPKerasRegressor(n_hidden=0, epochs=2, random_state=0)
    scores = [
        GridSearchCV(model, grid, cv=2, n_jobs=n, error_score="raise")
        .fit(X, Y)
        .cv_results_["mean_test_score"]
        for n in (1, 2)
    ]
    np.testing.assert_array_equal(*scores)
    assert len(set(scores[0])) == 4


# Keras says both, and so it does of rows in arrays.
@pytest.mark.filterwarnings("ignore:Limiting:UserWarning")
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("more", [{}, {"dropout": 0.1}], ids=["small", "graph"])
@pytest.mark.parametrize("setting", ["max_epochs", "max_steps_per_epoch"])
def test_limits_that_keras_is_set_to_hold(setting, more):
    given = {"n_hidden": 1, "n_neurons": 4, "epochs": 4, "batch_size": 8}
    rows = np.random.default_rng(0).normal(size=(40, 2))
    curves = []
    getattr(keras.config, f"set_{setting}")(2)
    try:
        for engine in ("auto", "keras"):
            model = MLPKerasRegressor(
                **given, **more, engine=engine, shuffle=False, random_state=0
            )
            curves.append(model.fit(rows, rows[:, 0]).loss_curve_)
        with pytest.raises(EngineError, match=r"keras\.config"):
            MLPKerasRegressor(**given, engine="compiled").fit(rows, rows[:, 0])
    finally:
        getattr(keras.config, f"set_{setting}")(None)
    np.testing.assert_allclose(*curves, rtol=1e-6)
    assert len(curves[0]) == (2 if setting == "max_epochs" else 4)
    free = MLPKerasRegressor(**given, **more, shuffle=False, random_state=0)
    assert len(free.fit(rows, rows[:, 0]).loss_curve_) == 4
    assert free.loss_curve_[-1] != pytest.approx(curves[0][-1], rel=1e-6)
