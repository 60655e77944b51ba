"""Training that goes on: what may have changed meanwhile, and from where it does."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from skann import MLPKerasRegressor
from skann._network.same import same, snapshot
from skann._training.numpy.trainer import DenseTrainer
from skann.exceptions import DivergenceWarning

X = np.random.default_rng(0).normal(size=(60, 3))
Y = 100.0 * X[:, 0] + 5.0


def regressor(**params):
    given = {"n_hidden": 1, "n_neurons": 4, "epochs": 3, "random_state": 0, **params}
    return MLPKerasRegressor(**given)


# What a parameter was, what it is set to, and whether that asks for the same.
PAIRS = [
    ([5, 5], np.array([5, 5]), True),
    ([5, 5], (5, 5), True),
    (np.array([5, 5]), [5], False),
    (np.array([5, 5]), np.array([5]), False),
    (np.array([5.0]), np.array([5.0]), True),
    ([5], [[5]], False),
    (np.int64(3), 3, True),
    (0.5, np.float32(0.5), True),
    (1, True, False),
    (1, 1.0, True),
    (True, np.True_, True),
    ({"a": np.array([1, 2])}, {"a": [1, 2]}, True),
    ({"a": np.array([1, 2])}, {"a": np.array([1, 3])}, False),
    ({"a": 1}, {"b": 1}, False),
    ("adam", "adam", True),
    ("adam", ["adam"], False),
    (None, 0, False),
    (keras.losses.Huber(0.5), keras.losses.Huber(0.5), False),
]


@pytest.mark.parametrize(("value", "other", "expected"), PAIRS)
def test_whether_two_values_ask_for_the_same(value, other, expected):
    assert same(value, other) is same(other, value) is expected
    assert same(value, snapshot(value))


CHANGED = [
    ({"normalize_y": True}, {"normalize_y": False}),
    ({"normalize_y": "auto"}, {"normalize_y": False}),
    ({"dtype": "float64"}, {"dtype": "float32"}),
    ({"dtype": "auto"}, {"dtype": "float32"}),  # A fit as small takes float64.
    ({}, {"dtype": "float32"}),
    ({"hidden_layer_sizes": np.array([5, 5])}, {"hidden_layer_sizes": [5]}),
    ({"hidden_layer_sizes": np.array([5, 5])}, {"hidden_layer_sizes": np.array([5])}),
    ({"model_kwargs": {"l2": 0.3}}, {"model_kwargs": {"l2": 0.4}}),
]


@pytest.mark.parametrize(("first", "then"), CHANGED)
@pytest.mark.parametrize("how", ["warm start", "partial_fit"])
def test_what_the_network_has_fixed_is_an_error(first, then, how):
    model = regressor(warm_start=True, **first).fit(X, Y)
    before = model.predict(X)
    model.set_params(**then)
    (name,) = then
    with pytest.raises(ValueError, match=rf"^{name}=.* would have no effect"):
        model.fit(X, Y) if how == "warm start" else model.partial_fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), before)


def test_a_list_that_is_changed_in_place_is_noticed():
    sizes = [5, 5]
    model = regressor(hidden_layer_sizes=sizes).fit(X, Y)
    sizes[1] = 6
    with pytest.raises(ValueError, match=r"hidden_layer_sizes=.* would have no effect"):
        model.partial_fit(X, Y)


UNCHANGED = [
    ({"dtype": "float64"}, {"dtype": "auto"}),
    ({"dtype": "auto"}, {"dtype": "float64"}),
    ({"dtype": "float32"}, {"dtype": None}),
    ({"hidden_layer_sizes": [5, 5]}, {"hidden_layer_sizes": np.array([5, 5])}),
    ({"n_neurons": 4}, {"n_neurons": np.int64(4)}),
]


@pytest.mark.parametrize(("first", "then"), UNCHANGED)
def test_another_way_to_say_the_same_is_none(first, then):
    model = regressor(warm_start=True, **first).fit(X, Y)
    assert model.set_params(**then).fit(X, Y).n_iter_ == 6


class TooFast(keras.callbacks.Callback):
    """Makes the third epoch diverge."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            self.model.optimizer.learning_rate = 1e30

    def on_epoch_end(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.01


WAYS = {
    "NumPy": {},
    "NumPy, SGD": {"optimizer": "sgd", "optimizer_kwargs": {"momentum": 0.9}},
    "graph": {"metrics": ["mae"]},
    "wider layers": {"metrics": ["mae"], "epochs": 1000, "batch_size": 20},
    "keras": {"engine": "keras"},
    "stops early": {"early_stopping": True, "validation_fraction": 0.2, "dtype": None},
    "averaged": {"optimizer_kwargs": {"use_ema": True}},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_optimizer_goes_back_with_the_weights(way):
    params = {"dtype": "float32", "learning_rate": 0.01, "epochs": 5, **WAYS[way]}
    model = regressor(callbacks=[TooFast()], **params)
    with pytest.warns(DivergenceWarning):
        model.fit(X, Y)
    assert model.n_iter_ == 3
    # Two epochs ended well.
    expected = regressor(callbacks=[TooFast()], **{**params, "epochs": 2}).fit(X, Y)
    assert_like(model, expected)
    losses = model.set_params(callbacks=None).partial_fit(X, Y).history_["loss"]
    assert losses[-1] < losses[0]


def assert_like(model, expected):
    mine, yours = (
        [*m.model_.weights, *m.model_.optimizer.variables] for m in (model, expected)
    )
    for one, other in zip(mine, yours, strict=True):
        np.testing.assert_allclose(
            one.numpy(), other.numpy(), rtol=1e-3, atol=1e-4, err_msg=one.path
        )


def test_the_optimizer_of_a_network_without_a_model_goes_back(monkeypatch):
    epoch_of = DenseTrainer.epoch

    def epoch(trainer, epoch):
        logs = epoch_of(trainer, epoch)
        if epoch < 2:
            return logs
        for array in (trainer._stack.parameters, *trainer._optimizer.slots):
            array.fill(np.nan)
        return {"loss": np.nan}

    expected = regressor(epochs=2).fit(X, Y)
    monkeypatch.setattr(DenseTrainer, "epoch", epoch)
    with pytest.warns(DivergenceWarning):
        model = regressor(epochs=5).fit(X, Y)
    assert_like(model, expected)


@pytest.mark.parametrize("params", [{}, {"dtype": "float32"}, {"dropout": 0.1}])
def test_what_was_trained_can_be_exported(params, tmp_path):
    model = regressor(**params).fit(X, Y)
    model.model_.export(tmp_path / "network", verbose=False)
    rows = X.astype(model.model_.inputs[0].dtype)
    exported = tf.saved_model.load(tmp_path / "network")
    found = exported.serve(rows)
    expected = model.model_.predict(X, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_keras_takes_what_was_trained_for_a_model_that_was_called(
    monkeypatch, tmp_path
):
    model = regressor(dtype="float32").fit(X, Y).model_
    # It asks before it looks for the library; older versions ask for every format.
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match="onnx"):
        model.export(tmp_path / "network.onnx", format="onnx", verbose=False)
