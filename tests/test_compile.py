"""Losses, optimizers and metrics, made of what a user may give for them."""

import functools
from fractions import Fraction

import keras
import numpy as np
import pytest

from skann._network.compile import (
    compile_arguments_of,
    loss_and_logits,
    loss_of,
    metrics_of,
    optimizer_of,
)

DEFAULTS = {"optimizer": "adam", "learning_rate": 0.003}


def loss(loss=None, default="mean_squared_error", **kwargs):
    return loss_of({"loss": loss, "loss_kwargs": kwargs or None}, default)


def optimizer(optimizer=None, learning_rate=None, **kwargs):
    params = {"optimizer": optimizer, "learning_rate": learning_rate}
    return optimizer_of({**params, "optimizer_kwargs": kwargs or None}, DEFAULTS)


def rate_of(optimizer):
    return float(np.asarray(optimizer.learning_rate))


# -- losses -------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["mse", "mean_squared_error", "MeanSquaredError"])
def test_a_loss_has_several_names(given):
    assert loss(given) == (keras.losses.MeanSquaredError, {})


def test_the_default_loss_is_taken_where_none_is_given():
    assert loss(None, "poisson") == (keras.losses.Poisson, {})
    assert loss("huber", "poisson") == (keras.losses.Huber, {})


@pytest.mark.parametrize("wrap", [list, tuple, lambda x: {"out": x[0]}])
def test_one_loss_in_a_list_is_that_loss(wrap):
    assert loss(wrap(["mae"])) == (keras.losses.MeanAbsoluteError, {})
    with pytest.raises(ValueError, match="must be one loss"):
        loss(["mae", "mse"])


def test_a_class_takes_arguments_of_the_types_that_it_has():
    given = {"delta": Fraction(1, 2)}
    params = {"loss": keras.losses.Huber, "loss_kwargs": given}
    made, arguments = loss_of(params, "mse")
    assert made is keras.losses.Huber
    assert type(arguments["delta"]) is float
    assert arguments == {"delta": 0.5}
    assert type(given["delta"]) is Fraction, "the dict is the user's"


def test_a_ready_loss_stays_the_users():
    huber, own = keras.losses.Huber(0.5), lambda y, output: output - y
    assert loss(huber) == (huber, {})
    assert loss(own) == (own, {})


@pytest.mark.parametrize(
    ("given", "kwargs", "match"),
    [
        ("huge", {}, r"loss='huge' is no loss.*'mean_squared_error'"),
        ("huber", {"delt": 1}, r"loss_kwargs.*\['delt'\] are no parameters of Huber"),
        ("huber", {"reduction": "all"}, r"loss_kwargs=.*refused by Huber"),
        ("huber", {"dtype": "int32"}, r"loss_kwargs=.*floating type"),
        (keras.losses.Huber(), {"delta": 1.0}, r"loss_kwargs=.*ready made"),
        (keras.layers.Dense, {}, r"loss=Dense must be a subclass of Loss"),
        (keras.losses.Loss, {}, r"loss=Loss must be a subclass of Loss"),
    ],
)
def test_bad_losses_are_named(given, kwargs, match):
    with pytest.raises(ValueError, match=match):
        loss(given, **kwargs)


def compiled(loss):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", loss)
    return model


@pytest.mark.parametrize(
    ("given", "name", "takes_logits"),
    [
        ("mse", "mean_squared_error", False),
        (keras.losses.Huber(), "huber", False),
        (keras.losses.BinaryCrossentropy(from_logits=True), "binary_crossentropy", 1),
        ([keras.losses.BinaryCrossentropy()], "binary_crossentropy", False),
        (None, "unknown", False),
    ],
)
def test_what_a_compiled_model_says_of_its_loss(given, name, takes_logits):
    assert loss_and_logits(compiled(given)) == (name, takes_logits)


# -- optimizers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["rmsprop", "RMSprop", "rms_prop", keras.optimizers.RMSprop]
)
def test_an_optimizer_has_several_names(given):
    made = optimizer(given)
    assert type(made) is keras.optimizers.RMSprop
    assert rate_of(made) == pytest.approx(0.003)


@pytest.mark.parametrize("given", [0.5, Fraction(1, 2), np.float32(0.5)])
def test_the_rate_that_is_set_comes_before_the_default(given):
    assert rate_of(optimizer("sgd", given)) == 0.5
    assert rate_of(optimizer("sgd", learning_rate=given)) == 0.5
    params = {"optimizer": None, "learning_rate": None}
    made = optimizer_of(
        {**params, "optimizer_kwargs": {"learning_rate": given}}, DEFAULTS
    )
    assert type(made) is keras.optimizers.Adam
    assert rate_of(made) == 0.5


def test_one_rate_only():
    both = {"optimizer": "sgd", "learning_rate": 0.5}
    again = {**both, "optimizer_kwargs": {"learning_rate": 0.5}}
    assert rate_of(optimizer_of(again, DEFAULTS)) == 0.5
    other = {**both, "optimizer_kwargs": {"learning_rate": 0.1}}
    with pytest.raises(ValueError, match=r"learning_rate=0.5 would have no effect"):
        optimizer_of(other, DEFAULTS)


def test_arguments_have_the_types_that_keras_asks_for():
    made = optimizer("sgd", momentum=0, gradient_accumulation_steps=2.0)
    assert type(made.gradient_accumulation_steps) is int
    assert type(made.momentum) is float
    averaging = optimizer("sgd", use_ema=True, ema_overwrite_frequency=2.0, name="own")
    assert type(averaging.ema_overwrite_frequency) is int
    assert averaging.name == "own"


def test_each_fit_has_an_optimizer_of_its_own():
    given = keras.optimizers.SGD(0.5, momentum=0.9)
    first, second = optimizer(given), optimizer(given)
    assert len({id(x) for x in (given, first, second)}) == 3
    assert first.get_config() == given.get_config()


@pytest.mark.parametrize(
    ("given", "kwargs", "match"),
    [
        ("adamant", {}, r"optimizer='adamant' is no optimizer.*'adamw'"),
        ("lossscaleoptimizer", {}, r"is no optimizer of Keras"),  # It wraps another,
        ("multi_optimizer", {}, r"is no optimizer of Keras"),  # and this one several.
        ("adam", {"beta": 1}, r"optimizer_kwargs.*\['beta'\] are no parameters"),
        ("adam", {"kwargs": 1}, r"optimizer_kwargs.*\['kwargs'\] are no parameters"),
        ("muon", {"exclude_layers": [1]}, r"finite numbers in \['exclude_layers'\]"),
        ("sgd", {"momentum": 2.0}, r"optimizer_kwargs=.*refused by SGD"),
        ("sgd", {"momentum": np.inf}, r"finite numbers in \['momentum'\]"),
        ("sgd", {"clipnorm": (1, 2)}, r"finite numbers in \['clipnorm'\]"),
        ("adam", {"beta_1": 1.0}, r"optimizer_kwargs=.*lead to NaN"),
        (keras.optimizers.SGD(), {"momentum": 0.9}, r"optimizer_kwargs .*ready made"),
        (keras.losses.Huber, {}, r"optimizer=Huber must be a subclass of Optimizer"),
    ],
)
def test_bad_optimizers_are_named(given, kwargs, match):
    with pytest.raises(ValueError, match=match):
        optimizer(given, **kwargs)


@pytest.mark.parametrize("rate", [0, -1.0, np.nan, np.inf])
def test_a_rate_is_above_0(rate):
    params = {"optimizer": "sgd", "learning_rate": None}
    with pytest.raises(ValueError, match=r"learning_rate|finite"):
        optimizer_of({**params, "optimizer_kwargs": {"learning_rate": rate}}, DEFAULTS)


# -- metrics ------------------------------------------------------------------------


def own_metric(y, output):
    return output - y


OTHER_METRIC = functools.partial(own_metric)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("mae", ["mae"]),
        (["mae", "accuracy", "acc"], ["mae", "accuracy", "acc"]),
        ((own_metric,), [own_metric]),
        (OTHER_METRIC, [OTHER_METRIC]),
        ([["mae", "mse"]], ["mae", "mse"]),
        ({"out": ["mae"]}, ["mae"]),
    ],
)
def test_metrics_are_one_list(given, expected):
    assert metrics_of(given) == expected


def test_each_fit_has_metrics_of_its_own():
    given = keras.metrics.Precision(0.25)
    (first,), (second,) = metrics_of([given]), metrics_of([given])
    assert len({id(x) for x in (given, first, second)}) == 3
    assert first.get_config() == given.get_config()
    (made,) = metrics_of([keras.metrics.AUC])
    assert type(made) is keras.metrics.AUC


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (["maee"], r"^metrics names 'maee', which is no metric"),
        ([3], r"^metrics must hold names.*got 3"),
        ([keras.metrics.MeanIoU], r"^metrics has 'MeanIoU', .*give an object"),
        ([keras.layers.Dense], r"^metrics=Dense must be a subclass of Metric"),
    ],
)
def test_bad_metrics_are_named(given, match):
    with pytest.raises(ValueError, match=match):
        metrics_of(given)
    match = match.replace("^metrics", "^compile_kwargs")
    with pytest.raises(ValueError, match=match):
        metrics_of(given, "compile_kwargs")


# -- other arguments of compile -----------------------------------------------------


def compile_arguments(**given):
    return compile_arguments_of({"compile_kwargs": given or None})


def test_arguments_of_compile_are_pythons_own():
    assert compile_arguments() == {}
    given = {"loss_weights": [np.float32(2)], "jit_compile": np.True_}
    made = compile_arguments(**given, steps_per_execution=np.int64(3), run_eagerly=None)
    assert made == {"loss_weights": 2.0, "jit_compile": True, "steps_per_execution": 3}
    types = [type(made[name]) for name in (*given, "steps_per_execution")]
    assert types == [float, bool, int]
    assert type(compile_arguments(loss_weights=0)["loss_weights"]) is float
    assert compile_arguments(steps_per_execution=1) == {"steps_per_execution": 1}
    weighted = compile_arguments(weighted_metrics="mae", jit_compile="auto")
    assert weighted == {"jit_compile": "auto", "weighted_metrics": ["mae"]}


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"loss": "mse"}, r"must not hold 'loss': set the parameter loss"),
        ({"metrics": ["mae"]}, r"must not hold 'metrics'"),
        ({"optimizer": "sgd"}, r"must not hold 'optimizer'"),
        ({"self": 1}, r"'self', which is no parameter"),
        ({"los": "mse"}, r"'los', which is no parameter.*'loss_weights'"),
        ({"loss_weights": -1}, r"loss_weights=-1, which must be a finite number"),
        ({"loss_weights": 1e39}, r"loss_weights=1e\+39, which must be a finite"),
        ({"loss_weights": True}, r"loss_weights=True, which must be a finite number"),
        ({"run_eagerly": 1}, r"run_eagerly=1, which must be True or False"),
        ({"auto_scale_loss": "auto"}, r"auto_scale_loss='auto', which must be True"),
        ({"jit_compile": "yes"}, r"jit_compile='yes', which must be True"),
        ({"steps_per_execution": 2**31}, r"which must be an integer from 1"),
        ({"steps_per_execution": 0}, r"steps_per_execution=0, which must be an int"),
        ({"steps_per_execution": 1.5}, r"steps_per_execution=1.5, which must be an"),
        ({"weighted_metrics": "maee"}, r"compile_kwargs names 'maee'"),
    ],
)
def test_bad_arguments_of_compile_are_named(given, match):
    with pytest.raises(ValueError, match=match):
        compile_arguments(**given)
