"""Networks with one thing out of the ordinary, by the engine and by Keras."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers, ops

from skann import MLPKerasRegressor
from skann._training import work

RNG = np.random.default_rng(0)
X = RNG.normal(size=(71, 4))
Y = X[:, 0] + X[:, 1] * X[:, 2]
IMAGES = RNG.normal(size=(71, 3, 2))
QUICK = {"epochs": 3, "batch_size": 16, "shuffle": False, "random_state": 0}


def mean_square(x):
    return 0.5 * ops.mean(x**2)


def stack(*parts, units=8):
    def build(input_shape):
        hidden = layers.Dense(units, activation="tanh")
        return keras.Sequential(
            [keras.Input(input_shape), hidden, *(p() for p in parts), layers.Dense(1)]
        )

    return build


def flat(**how):
    def build(input_shape):
        flatten = layers.Flatten(**how)
        return keras.Sequential([keras.Input(input_shape), flatten, layers.Dense(1)])

    return build


CASES = {
    "no weight of the loss": (None, {"compile_kwargs": {"loss_weights": 0.0}}, X),
    "channels first": (flat(data_format="channels_first"), {}, IMAGES),
    "a penalty on what is flat": (flat(activity_regularizer="l2"), {}, IMAGES),
    "flat in half precision": (flat(dtype="float16"), {}, 3e3 * IMAGES + 1e3),
    "squares only": (
        stack(lambda: layers.LayerNormalization(rms_scaling=True, center=False)),
        {},
        X,
    ),
    "a mean of outputs": (
        stack(lambda: layers.Activation("tanh", activity_regularizer=mean_square)),
        {"optimizer": "sgd"},
        X,
    ),
    "a penalty on a dropout": (
        stack(lambda: layers.Dropout(0.0, activity_regularizer="l2")),
        {},
        X,
    ),
    "no epsilon": (stack(units=20), {"optimizer_kwargs": {"epsilon": 0.0}}, X),
    "normalised without epsilon": (
        stack(lambda: layers.BatchNormalization(epsilon=0.0), units=20),
        {},
        X,
    ),
    "normalised with next to none": (
        stack(lambda: layers.BatchNormalization(epsilon=1e-42), units=20),
        {},
        X,
    ),
}


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`:UserWarning")
@pytest.mark.parametrize("case", CASES)
def test_they_train_and_predict_as_by_keras(case, monkeypatch):
    build, params, rows = CASES[case]
    params = {**QUICK, **params, "l2": 0.01} if build is None else {**QUICK, **params}
    fit = {
        "X_val": rows[:30],
        "y_val": Y[:30],
        "callbacks": [keras.callbacks.Callback()],
    }

    def fitted(engine):
        model = MLPKerasRegressor(build, **params, engine=engine, early_stopping=False)
        model.fit(rows, Y, **fit)
        outputs = ops.convert_to_numpy(model.model_(rows)).ravel()
        np.testing.assert_allclose(model.predict(rows), outputs, rtol=2e-3, atol=2e-3)
        return model

    def assert_same(ours, theirs):
        for name, values in theirs.history_.items():
            np.testing.assert_allclose(ours.history_[name], values, rtol=1e-3)
        weights = ours.model_.get_weights(), theirs.model_.get_weights()
        for mine, yours in zip(*weights, strict=True):
            np.testing.assert_allclose(mine, yours, rtol=2e-3, atol=2e-4)

    theirs, in_few_steps = fitted("keras"), fitted("auto")
    assert_same(in_few_steps, theirs)
    monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    compiled = fitted("auto")
    assert_same(compiled, theirs)


class Shrinks(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.set_weights([0.9 * w for w in self.model.get_weights()])


@pytest.mark.parametrize("compiled", [False, True], ids=["few steps", "compiled"])
def test_weights_that_a_callback_changed_are_the_ones_that_are_kept(
    compiled, monkeypatch
):
    if compiled:
        monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    params = {**QUICK, "epochs": 6, "patience": 3, "callbacks": [Shrinks()]}
    fit = {"X_val": X[:30], "y_val": Y[:30]}
    ours = MLPKerasRegressor(**params).fit(X, Y, **fit)
    theirs = MLPKerasRegressor(**params, engine="keras").fit(X, Y, **fit)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_a_model_of_another_unit_in_the_place_of_ones_own(engine):
    small = MLPKerasRegressor(**QUICK, engine=engine).fit(X, 10 * Y + 3)
    params = {"epochs": 60, "learning_rate": 0.02, "random_state": 0}
    small.model_ = MLPKerasRegressor(**params).fit(X, 1000 * Y + 70).model_
    for _ in range(5):
        small.partial_fit(X, 1000 * Y + 70)
    assert small.score(X, 1000 * Y + 70) > 0.9
    again = pickle.loads(pickle.dumps(small))
    np.testing.assert_array_equal(again.predict(X), small.predict(X))


def test_a_ready_model_that_gives_y_in_its_unit():
    ready = MLPKerasRegressor(**QUICK, optimizer="sgd").fit(X, 30 * Y + 500).model_
    by = [
        MLPKerasRegressor(ready, **QUICK, engine=engine).fit(X, 30 * Y + 500)
        for engine in ("auto", "keras")
    ]
    np.testing.assert_allclose(by[0].predict(X), by[1].predict(X), rtol=1e-5)
    np.testing.assert_allclose(by[0].loss_curve_, by[1].loss_curve_, rtol=1e-5)


def test_the_loss_that_a_model_has_now_decides_on_its_steps():
    changes = []
    for factor in (1.0, 1000.0):
        model = MLPKerasRegressor(**QUICK).fit(X, factor * Y)
        model.model_.compile(keras.optimizers.SGD(0.1), loss="mae")
        before = model.predict(X)
        model.partial_fit(X, factor * Y)
        changes.append(np.abs(model.predict(X) - before).max() / factor)
    assert changes[0] == pytest.approx(changes[1], rel=0.05)
    assert changes[0] > 1e-3


def test_a_functional_model_with_a_step_of_its_own_is_given_no_layer():
    rows = keras.Input((4,))
    model = keras.Model(rows, layers.Dense(1)(rows))
    model.compile("sgd", "mse")
    model.train_step = lambda data: keras.Model.train_step(model, data)

    def build():
        return model

    with pytest.raises(ValueError, match=r"normalize_y=True"):
        MLPKerasRegressor(build, **QUICK, normalize_y=True).fit(X, Y)
