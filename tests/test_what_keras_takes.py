"""What ``keras.Model.compile`` and ``fit`` take, skann takes."""

import functools
import pickle
import warnings
from decimal import Decimal
from fractions import Fraction

import keras
import numpy as np
import pytest
from sklearn.base import clone

from skann import MLPKerasClassifier, MLPKerasRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = X @ [1.0, 2.0, -1.0] + 0.1 * RNG.normal(size=50)
LABELS = np.digitize(Y, [-1.0, 1.0])
FEW = {"epochs": 3, "batch_size": 16, "random_state": 0, "shuffle": False}

STRUCTURES = {
    "alone": lambda tensor, name: tensor,
    "list": lambda tensor, name: [tensor],
    "tuple": lambda tensor, name: (tensor,),
    "dict": lambda tensor, name: {name: tensor},
}


def functional(inputs, outputs, n_outputs=1, activation=None):
    def build():
        x = keras.Input((3,), name="x")
        layer = keras.layers.Dense(n_outputs, activation, name="y", dtype="float32")
        return keras.Model(
            STRUCTURES[inputs](x, "x"), STRUCTURES[outputs](layer(x), "y")
        )

    return build


class Subclass(keras.Model):
    """A network of the user's own, whose output stands in a list or a dict."""

    def __init__(self, outputs):
        super().__init__()
        self.outer, self.out = outputs, keras.layers.Dense(1, name="y")

    def call(self, x):
        return STRUCTURES[self.outer](self.out(x), "y")

    def get_config(self):
        return {"outputs": self.outer}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@functools.cache
def fitted(engine, inputs, outputs):
    build = functional(inputs, outputs)
    return MLPKerasRegressor(build, engine=engine, **FEW).fit(X, Y)


# Of an input and an output, each once.
PAIRS = [("alone", "list"), ("list", "dict"), ("tuple", "tuple"), ("dict", "alone")]


@pytest.mark.parametrize("engine", ["compiled", "keras"])
@pytest.mark.parametrize(("inputs", "outputs"), [*PAIRS, ("dict", "list")])
def test_one_input_and_one_output_in_a_list_or_dict(engine, inputs, outputs):
    model = fitted(engine, inputs, outputs)
    plain = fitted(engine, "alone", "alone")
    assert model.engine_ == ("keras" if engine == "keras" else "graph")
    assert model.history_ == plain.history_
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


@pytest.mark.parametrize("outputs", ["list", "dict"])
def test_a_ready_model_with_its_output_in_a_list_or_dict(outputs):
    ready = functional("dict", outputs)()
    model = MLPKerasRegressor(ready, **FEW).fit(X, Y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    again.partial_fit(X, Y)
    np.testing.assert_array_equal(clone(model).fit(X, Y).predict(X), model.predict(X))


@pytest.mark.parametrize("outputs", ["list", "dict"])
def test_a_subclassed_model_with_its_output_in_a_list_or_dict(outputs):
    def fitted(outputs):
        return MLPKerasRegressor(lambda: Subclass(outputs), **FEW).fit(X, Y)

    model = fitted(outputs)
    np.testing.assert_array_equal(model.predict(X), fitted("alone").predict(X))


@pytest.mark.parametrize("outputs", ["list", "dict"])
def test_a_classifier_with_its_output_in_a_list_or_dict(outputs):
    def fitted(outputs):
        build = functional("alone", outputs, 3, "softmax")
        return MLPKerasClassifier(build, metrics=["accuracy"], **FEW).fit(X, LABELS)

    model, plain = fitted(outputs), fitted("alone")
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    assert model.history_ == plain.history_


@pytest.mark.parametrize("loss", [["mae"], ("mae",), {"y": "mae"}, [["mae"]]])
def test_a_loss_in_a_list_or_dict(loss):
    def fitted(loss):
        return MLPKerasRegressor(loss=loss, **FEW).fit(X, Y)

    assert fitted(loss).history_ == fitted("mae").history_


def test_a_loss_in_a_list_or_dict_of_a_network_that_compiles_itself():
    def build(loss):
        model = functional("alone", "dict", 3)()
        model.compile("sgd", loss)
        return model

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    fits = [
        MLPKerasClassifier(build, model_kwargs={"loss": given}, **FEW).fit(X, LABELS)
        for given in (loss, [loss], {"y": loss})
    ]
    for fit in fits[1:]:
        np.testing.assert_array_equal(fit.predict_proba(X), fits[0].predict_proba(X))


@pytest.mark.parametrize(
    "metrics", [["mae"], [["mae"]], {"y": "mae"}, {"y": ["mae"]}, ("mae",), "mae"]
)
def test_metrics_in_a_list_or_dict(metrics):
    model = MLPKerasRegressor(metrics=metrics, **FEW).fit(X, Y)
    assert list(model.history_) == ["loss", "mae"]


@pytest.mark.parametrize("name", ["loss", "metrics"])
@pytest.mark.parametrize("several", [["mae", "nope"], {"a": "mae", "b": "mse"}])
def test_losses_and_metrics_for_several_outputs_are_refused(name, several):
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        MLPKerasRegressor(**{name: several}, **FEW).fit(X, Y)


NUMBERS = [
    0,
    0.0,
    np.float32(0),
    np.float16(0),
    np.int8(0),
    np.array(0.0),
    np.array(0),
    Fraction(0),
    Decimal(0),
]


@pytest.mark.parametrize("zero", NUMBERS, ids=lambda n: type(n).__name__)
def test_numbers_of_any_kind_for_an_optimizer(zero):
    model = MLPKerasRegressor(n_hidden=0, optimizer="sgd", **FEW)
    model.set_params(optimizer__momentum=zero)
    assert model.fit(X, Y).model_.optimizer.momentum == 0.0


@pytest.mark.parametrize(
    ("name", "optimizer", "values"),
    [
        ("learning_rate", "adam", [1, np.float32(1), Fraction(1), np.array(1.0)]),
        ("nesterov", "sgd", [np.True_, np.array(True), True]),
        ("clipnorm", "adam", [1, np.int64(1), Fraction(1), Decimal(1)]),
        ("weight_decay", "adamw", [1, np.float64(1), np.array(1), Fraction(1)]),
        ("gradient_accumulation_steps", "sgd", [np.int64(2), np.array(2)]),
        ("ema_overwrite_frequency", "sgd", [2, 2.0, np.int32(2), np.array(2)]),
        ("beta_1", "adam", [0, np.float32(0), Fraction(0)]),
    ],
)
def test_numbers_of_any_kind_for_other_arguments_of_optimizers(name, optimizer, values):
    more = {"use_ema": True} if name.startswith("ema") else {}
    for value in values:
        kwargs = {name: value, **more}
        model = MLPKerasRegressor(
            n_hidden=0, optimizer=optimizer, optimizer_kwargs=kwargs, **FEW
        )
        model.fit(X, Y)
        assert kwargs[name] is value
        config = model.model_.optimizer.get_config()
        assert config[name] == values[0]
        assert type(config[name]) in (int, float, bool)


@pytest.mark.parametrize("delta", [2, 2.0, np.float32(2), Fraction(2), np.array(2)])
def test_numbers_of_any_kind_for_a_loss(delta):
    model = MLPKerasRegressor(loss="huber", loss_kwargs={"delta": delta}, **FEW)
    plain = MLPKerasRegressor(loss="huber", loss_kwargs={"delta": 2.0}, **FEW)
    np.testing.assert_array_equal(
        model.fit(X, Y).predict(X), plain.fit(X, Y).predict(X)
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", Fraction(1, 100)),
        ("learning_rate", np.float16(0.01)),
        ("dropout", Fraction(1, 4)),
        ("dropout", np.float32(0.25)),
        ("l1", Fraction(1, 100)),
        ("l2", np.float16(0.01)),
        ("l2", 1),
        ("n_hidden", np.uint8(1)),
        ("n_neurons", np.int16(4)),
        ("hidden_layer_sizes", [np.int64(3), np.uint8(2)]),
        ("hidden_layer_sizes", np.array([3, 2], dtype=np.uint8)),
    ],
)
def test_numbers_of_any_kind_for_parameters(name, value):
    model = MLPKerasRegressor(**{name: value}, **FEW).fit(X, Y)
    assert np.isfinite(model.predict(X)).all()
    assert model.model_.count_params() > 0
    assert model.get_params()[name] is value


def sizes(units, factor=1, sizes=(2,), options=None):
    layers = [keras.layers.Dense(n * factor) for n in (units, *sizes, *options["more"])]
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])


def test_numbers_of_numpy_in_containers_reach_a_build_function_as_pythons():
    given = {
        "units": np.int32(4),
        "factor": np.array(2),
        "sizes": [np.int64(3), np.int8(2)],
        "options": {"more": (np.int64(1),)},
    }
    model = MLPKerasRegressor(sizes, model_kwargs=given, **FEW).fit(X, Y)
    assert [layer.units for layer in model.model_.layers] == [8, 6, 4, 2, 1]
    assert isinstance(given["sizes"][0], np.int64)


def unit_sgd(compile_kwargs):
    model = functional("alone", "alone")()
    model.compile(**compile_kwargs)
    return model


@pytest.mark.parametrize("build_fn", [None, unit_sgd])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_further_arguments_of_compile(build_fn, engine):
    weight = 1.0 + (np.arange(len(Y)) % 3)
    given = {"weighted_metrics": ["mae"], "loss_weights": np.float32(2.0)}
    model = MLPKerasRegressor(
        build_fn, optimizer="sgd", normalize_y=False, compile_kwargs=given, **FEW
    ).fit(X, Y, sample_weight=weight)
    expected = keras.models.clone_model(model.model_)
    expected.set_weights(
        MLPKerasRegressor(build_fn, normalize_y=False, **FEW)
        .initialize(X, Y)
        .model_.get_weights()
    )
    expected.compile(
        optimizer=keras.optimizers.SGD(3e-3),
        loss="mse",
        weighted_metrics=["mae"],
        loss_weights=2.0,
    )
    history = expected.fit(
        X,
        Y,
        sample_weight=weight / weight.mean(),
        batch_size=16,
        epochs=3,
        shuffle=False,
        verbose=0,
    ).history
    assert history.keys() == model.history_.keys()
    for name in history:
        np.testing.assert_allclose(model.history_[name], history[name], rtol=1e-4)


def test_arguments_of_compile_may_be_set_and_searched():
    model = MLPKerasRegressor(**FEW).set_params(compile__run_eagerly=True)
    assert model.compile_kwargs == {"run_eagerly": True}
    assert model.fit(X, Y).engine_ == "keras"
    model.set_params(compile__run_eagerly=False, compile__steps_per_execution=2)
    assert model.fit(X, Y).model_.steps_per_execution == 2
    assert clone(model).get_params()["compile__steps_per_execution"] == 2


def compiled_by_itself():
    model = functional("alone", "alone")()
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("build_fn", "given", "match"),
    [
        (None, {"loss": "mae"}, "compile_kwargs.*set the parameter loss"),
        (None, {"metrics": ["mae"]}, "compile_kwargs.*set the parameter metrics"),
        (None, {"optimizer": "sgd"}, "compile_kwargs.*set the parameter optimizer"),
        (None, {"nope": 1}, "compile_kwargs.*'nope'"),
        (None, {"weighted_metrics": ["nope"]}, "compile_kwargs names 'nope'"),
        (None, {"weighted_metrics": 3}, "compile_kwargs"),
        (compiled_by_itself, {"run_eagerly": True}, "compile_kwargs=.*no effect"),
    ],
)
def test_bad_arguments_of_compile(build_fn, given, match):
    with pytest.raises(ValueError, match=match):
        MLPKerasRegressor(build_fn, compile_kwargs=given, **FEW).fit(X, Y)


@pytest.mark.parametrize("cls", [MLPKerasRegressor, MLPKerasClassifier])
@pytest.mark.parametrize(
    ("method", "name", "here"),
    [
        ("fit", "validation_split", "validation_fraction"),
        ("fit", "class_weight", "class_weight"),
        ("fit", "shuffle", "shuffle"),
        ("fit", "initial_epoch", "warm_start"),
        ("fit", "validation_batch_size", "batch_size"),
        ("fit", "steps_per_epoch", "all rows"),
        ("fit", "validation_steps", "as a whole"),
        ("fit", "validation_freq", "after each epoch"),
        ("predict", "batch_size", "batches that fit"),
        ("predict", "verbose", "prints nothing"),
        ("fit", "nope", "unexpected keyword argument 'nope'"),
        ("predict", "nope", "unexpected keyword argument 'nope'"),
    ],
)
def test_arguments_with_another_name_here(cls, method, name, here):
    model = cls(**FEW)
    arguments = (X, LABELS) if method == "fit" else (X,)
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\.{method}.*{here}"):
        getattr(model, method)(*arguments, **{name: 1})


def test_arguments_of_predict_proba_with_another_name_here():
    with pytest.raises(TypeError, match=r"Classifier\.predict_proba takes no verbose"):
        MLPKerasClassifier().predict_proba(X, verbose=0)
