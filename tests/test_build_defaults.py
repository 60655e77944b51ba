"""What a build function is given: its own defaults stand until a parameter is set."""

import functools
import inspect

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._network.arguments import COMPILE_PARAMETERS, NETWORK_PARAMETERS
from skann.models import build_mlp


@pytest.fixture(scope="module")
def data():
    X, y = load_diabetes(return_X_y=True)
    return scale(X)[:60], y[:60]


def network(units=1):
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(units)])
    model.compile("sgd", "mse")
    return model


class Spy:
    """A build function with the defaults given, which keeps what it was called with."""

    def __init__(self, **defaults):
        kind = inspect.Parameter.KEYWORD_ONLY
        self.given = None
        self.__signature__ = inspect.Signature(
            [inspect.Parameter(k, kind, default=v) for k, v in defaults.items()]
        )

    def __call__(self, **given):
        bound = self.__signature__.bind(**given)
        bound.apply_defaults()
        self.given = bound.arguments
        return network()


# A default of the function for each parameter, and another value.
VALUES = {
    "n_hidden": (1, 3),
    "n_neurons": (30, 7),
    "hidden_layer_sizes": ((5,), (6, 7)),
    "activation": ("selu", "tanh"),
    "output_activation": ("softplus", "sigmoid"),
    "kernel_initializer": ("ones", "he_normal"),
    "dropout": (0.4, 0.1),
    "normalization": ("batch", "layer"),
    "l1": (0.1, 0.2),
    "l2": (0.3, 0.4),
    "dtype": ("float32", "float64"),
    "loss": ("mae", "huber"),
    "loss_kwargs": ({"delta": 3.0}, {"delta": 2.0}),
    "metrics": (["mae"], ["mse"]),
    "optimizer": ("rmsprop", "sgd"),
    "optimizer_kwargs": ({"momentum": 0.3}, {"momentum": 0.5}),
    "learning_rate": (0.7, 0.01),
}
BUILT_IN = {
    "n_hidden": 2,
    "n_neurons": 100,
    "activation": "relu",
    "dropout": 0.0,
    "l1": 0.0,
    "l2": 0.0,
    "optimizer": "adam",
    "learning_rate": 3e-3,
}


def test_every_parameter_of_the_network_is_tried():
    # The last is what scikeras gives to a function under the same name.
    known = {*NETWORK_PARAMETERS, *COMPILE_PARAMETERS} - {"compile_kwargs"}
    assert VALUES.keys() == known


@pytest.fixture(scope="module", params=[MLPKerasRegressor, MLPKerasClassifier])
def cls(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(cls, data):
    def fit(build_fn, **params):
        X, y = data
        y = y if cls is MLPKerasRegressor else (y > 150).astype(int)
        return cls(build_fn, **{"epochs": 1, **params}).fit(X, y)

    return fit


def test_what_is_not_set_is_left_to_the_function(fitted):
    spy = Spy(**{name: default for name, (default, _) in VALUES.items()})
    fitted(spy)
    assert spy.given == {name: default for name, (default, _) in VALUES.items()}


def test_none_as_the_functions_default_is_left_alone(fitted):
    spy = Spy(**dict.fromkeys(VALUES))
    fitted(spy)
    assert spy.given == dict.fromkeys(VALUES)


@pytest.mark.parametrize("way", ["estimator", "model_kwargs"])
def test_what_is_set_wins(fitted, way):
    spy = Spy(**{name: default for name, (default, _) in VALUES.items()})
    others = {name: other for name, (_, other) in VALUES.items()}
    fitted(spy, **(others if way == "estimator" else {"model_kwargs": others}))
    assert spy.given == others


def test_none_wins_in_model_kwargs(fitted):
    spy = Spy(normalization="batch")
    fitted(spy, normalization="layer", model_kwargs={"normalization": None})
    assert spy.given == {"normalization": None}


@pytest.mark.parametrize("name", VALUES)
def test_what_is_set_in_two_places_is_an_error(fitted, name):
    value, other = VALUES[name]
    what_takes_it = {"loss_kwargs": "huber", "optimizer_kwargs": "sgd"}.get(name)
    whole = {name.removesuffix("_kwargs"): what_takes_it} if what_takes_it else {}
    spy = Spy(**{name: None}, **dict.fromkeys(whole))
    with pytest.raises(ValueError, match=f"^{name}=.* would have no effect: model_kw"):
        fitted(spy, **whole, **{name: other}, model_kwargs={name: value})
    fitted(spy, **whole, **{name: value}, model_kwargs={name: value})
    assert spy.given == {name: value, **whole}


def test_a_search_of_what_model_kwargs_decide_is_an_error(data):
    for build_fn in (None, course):
        model = MLPKerasRegressor(build_fn, model_kwargs={"n_hidden": 1}, epochs=1)
        search = GridSearchCV(model, {"n_hidden": [0, 3]}, cv=2, error_score="raise")
        with pytest.raises(ValueError, match="n_hidden=0 would have no effect"):
            search.fit(*data)


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_set_wins_though_it_is_as_in_the_built_in_network(fitted, name):
    spy = Spy(**{name: VALUES[name][0]})
    fitted(spy, **{name: BUILT_IN[name]})
    assert spy.given == {name: BUILT_IN[name]}


def test_what_has_no_default_is_as_in_the_built_in_network(fitted):
    spy = Spy(**dict.fromkeys(BUILT_IN, inspect.Parameter.empty))
    fitted(spy)
    assert spy.given == BUILT_IN


def test_what_only_the_data_tells_is_told_where_there_is_no_default(fitted, cls):
    names = ("loss", "output_activation", "kernel_initializer", "hidden_layer_sizes")
    spy = Spy(**dict.fromkeys(names, inspect.Parameter.empty))
    fitted(spy, n_neurons=None)
    is_regressor = cls is MLPKerasRegressor
    assert spy.given == {
        "loss": "mean_squared_error" if is_regressor else "binary_crossentropy",
        "output_activation": None if is_regressor else "sigmoid",
        "kernel_initializer": "he_uniform",
        "hidden_layer_sizes": (100, 100),
    }


def test_parameters_of_the_fit_reach_it_where_they_are_set_or_needed(fitted):
    spy = Spy(epochs=7, batch_size=inspect.Parameter.empty, patience=3, monitor="x")
    fitted(spy, epochs=1, patience=5)
    assert spy.given == {"epochs": 1, "batch_size": 32, "patience": 5, "monitor": "x"}


def test_arguments_of_fit_reach_it_as_parameters_do(data):
    spy = Spy(epochs=7, batch_size=inspect.Parameter.empty, verbose=3)
    model = MLPKerasRegressor(spy, epochs=2, verbose=1)
    model.fit(*data, epochs=1, batch_size=16, verbose=0)
    assert spy.given == {"epochs": 1, "batch_size": 16, "verbose": 3}
    assert model.get_params()["batch_size"] == 32


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("whole", [False, True])
def test_meta_says_that_a_regressors_y_is_continuous(data, columns, whole):
    X, y = data
    y = np.column_stack([y] * columns) if columns > 1 else y
    seen = {}

    def build(meta):
        seen.update(meta)
        return network(meta["n_outputs_"])

    MLPKerasRegressor(build, epochs=1).fit(X, y.astype(int) if whole else y + 0.5)
    kind = "continuous" if columns == 1 else "continuous-multioutput"
    assert (seen["target_type_"], seen["n_outputs_"]) == (kind, columns)


def test_a_seed_of_the_functions_own_is_kept_until_one_is_set(fitted):
    spy = Spy(random_state=7)
    fitted(spy)
    assert spy.given == {"random_state": 7}
    fitted(spy, random_state=0)
    assert spy.given != {"random_state": 7}


def course(n_hidden=1, n_neurons=30, learning_rate=3e-3, input_shape=[8]):  # noqa: B006
    model = keras.models.Sequential()
    model.add(keras.layers.InputLayer(shape=input_shape))
    for _ in range(n_hidden):
        model.add(keras.layers.Dense(n_neurons, activation="relu"))
    model.add(keras.layers.Dense(1))
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(learning_rate))
    return model


class Builder:
    def build(self, n_hidden=1, n_neurons=30):
        return course(n_hidden, n_neurons, input_shape=[10])

    __call__ = build

    @classmethod
    def of_the_class(cls, n_hidden=1, n_neurons=30):
        return course(n_hidden, n_neurons, input_shape=[10])

    @staticmethod
    def static(n_hidden=1, n_neurons=30):
        return course(n_hidden, n_neurons, input_shape=[10])


class Subclass(keras.Model):
    def __init__(self, n_hidden=1, n_neurons=30):
        super().__init__()
        self.hidden = [keras.layers.Dense(n_neurons) for _ in range(n_hidden)]
        self.out = keras.layers.Dense(1)

    def call(self, x):
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


def units(estimator):
    layers = estimator.model_._flatten_layers(include_self=False, recursive=True)
    return [layer.units for layer in layers if hasattr(layer, "units")]


@pytest.mark.parametrize(
    ("build_fn", "expected"),
    [
        (course, [30, 1]),
        (functools.partial(course, n_neurons=7), [7, 1]),
        (functools.partial(course, 2), [30, 30, 1]),
        (functools.partial(functools.partial(course, 2), n_neurons=5), [5, 5, 1]),
        (Builder(), [30, 1]),
        (Builder().build, [30, 1]),
        (Builder.of_the_class, [30, 1]),
        (Builder.static, [30, 1]),
        (Subclass, [30, 1]),
        (functools.partial(Subclass, n_hidden=2), [30, 30, 1]),
        (functools.partial(build_mlp, n_hidden=1), [100, 1]),
        (build_mlp, [100, 100, 1]),
        (None, [100, 100, 1]),
    ],
)
def test_the_network_is_the_one_that_was_asked_for(data, build_fn, expected):
    model = MLPKerasRegressor(build_fn, epochs=1)
    assert units(model.fit(*data)) == expected
    assert units(model.set_params(n_neurons=4).fit(*data)) == [
        *[4] * (len(expected) - 1),
        1,
    ]


def test_parameters_that_are_given_by_position_only(data):
    def build(n_hidden=1, n_neurons=30, /, depth=0):
        return course(n_hidden, n_neurons, input_shape=[10])

    assert units(MLPKerasRegressor(build, epochs=1).fit(*data)) == [30, 1]
    assert units(MLPKerasRegressor(build, n_neurons=4, epochs=1).fit(*data)) == [4, 1]


def test_a_partial_of_the_built_in_network_has_its_outputs(data):
    X, y = data
    small = functools.partial(build_mlp, n_hidden=0)
    model = MLPKerasClassifier(small, epochs=1).fit(X, np.arange(len(y)) % 3)
    assert model.model_.layers[-1].activation is keras.activations.softmax


def test_what_a_partial_binds_by_position_cannot_be_set(data):
    model = MLPKerasRegressor(functools.partial(course, 2), n_hidden=1)
    with pytest.raises(ValueError, match="n_hidden=1 would have no effect"):
        model.fit(*data)


def test_a_search_tries_the_values_that_it_names(data):
    model = MLPKerasRegressor(course, epochs=1, random_state=0)
    search = GridSearchCV(
        model, {"n_hidden": [1, 2, 3], "n_neurons": np.arange(3, 4)}, cv=2
    )
    search.fit(*data)
    assert units(search.best_estimator_) == [3] * search.best_params_["n_hidden"] + [1]
    assert len(set(search.cv_results_["mean_test_score"])) == 3


def test_unset_parameters_stay_unset(data):
    model = MLPKerasRegressor(epochs=1).fit(*data)
    before = model.get_params()
    assert before["n_hidden"] is before["learning_rate"] is None
    assert clone(model).get_params() == before
    assert repr(model) == "MLPKerasRegressor(epochs=1)"


def test_going_on_knows_that_none_is_what_the_built_in_network_has(data):
    model = MLPKerasRegressor(epochs=1, warm_start=True).fit(*data)
    model.set_params(n_hidden=2, optimizer="adam", activation="relu").fit(*data)
    assert model.n_iter_ == 2
    with pytest.raises(ValueError, match="n_hidden=3 would have no effect"):
        model.set_params(n_hidden=3).fit(*data)


def test_functions_with_any_names_are_given_what_is_set(data):
    def build(input_shape, meta, compile_kwargs, **kwargs):
        return build_mlp(input_shape=input_shape, **kwargs)

    assert units(MLPKerasRegressor(build, epochs=1).fit(*data)) == [100, 100, 1]
    model = MLPKerasRegressor(build, epochs=1, n_hidden=1, n_neurons=4)
    assert units(model.fit(*data)) == [4, 1]


def test_all_parameters_as_scikeras_gives_them(data):
    seen = {}

    def build(params, width=2):
        seen.update(params)
        return network()

    model = MLPKerasRegressor(build, n_hidden=5, model_kwargs={"width": 3}, epochs=1)
    model.fit(*data)
    found = {k: seen[k] for k in ("n_hidden", "n_neurons", "model__width", "epochs")}
    assert found == {"n_hidden": 5, "n_neurons": 100, "model__width": 3, "epochs": 1}


def test_models_of_kerass_own_wrappers_are_told_what_to_take(data):
    def build(X, y):
        return network()

    with pytest.raises(ValueError, match=r"keras\.wrappers.*input_shape"):
        MLPKerasRegressor(build).fit(*data)
