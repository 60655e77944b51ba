"""What to search, and learning rates found by a range test."""

import pickle

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.linear_model import Ridge
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann.exceptions import DivergenceError
from skann.plotting import LearningRateDisplay
from skann.search import find_learning_rate, param_distributions

SMALL = {"n_hidden": 1, "n_neurons": 16, "epochs": 10, "random_state": 0}


@pytest.fixture(scope="module")
def scaled(california):
    X, y = california
    return StandardScaler().fit_transform(X), y


# -- param_distributions ------------------------------------------------------------


def test_a_search_of_the_distributions_fits_every_candidate(california):
    X, y = california
    model = make_pipeline(StandardScaler(), MLPKerasRegressor(epochs=2, random_state=0))
    distributions = param_distributions(model)
    assert all(name.startswith("mlpkerasregressor__") for name in distributions)
    search = RandomizedSearchCV(model, distributions, n_iter=4, cv=2, random_state=0)
    search.fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def names(*args, **kwargs):
    return set(param_distributions(*args, **kwargs))


EVERYTHING = {"n_hidden", "n_neurons", "learning_rate", "dropout", "batch_size"}


def build_deep(n_hidden=1, input_shape=(1,)):
    raise AssertionError("nothing is built to see what can be searched")


def build_any(input_shape, **kwargs):
    raise AssertionError("nothing is built to see what can be searched")


def build_wide(n_neurons=4, input_shape=(1,)):
    raise AssertionError("nothing is built to see what can be searched")


def build_uncompiled(n_neurons, compile_kwargs):
    raise AssertionError("nothing is built to see what can be searched")


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ({}, EVERYTHING),
        ({"hidden_layer_sizes": (8, 4)}, {"learning_rate", "dropout", "batch_size"}),
        ({"optimizer": keras.optimizers.SGD()}, EVERYTHING - {"learning_rate"}),
        ({"learning_rate": "auto"}, EVERYTHING - {"learning_rate"}),
        ({"model": build_deep}, {"n_hidden", "batch_size"}),
        ({"model": build_any}, {"batch_size"}),
        ({"model": build_wide, "model_kwargs": {"n_neurons": 8}}, {"batch_size"}),
        ({"activation": ["relu", "tanh"]}, EVERYTHING - {"n_hidden"}),
        (
            {"optimizer_kwargs": {"learning_rate": 0.1}},
            EVERYTHING - {"learning_rate"},
        ),
        ({"model": build_uncompiled}, {"n_neurons", "learning_rate", "batch_size"}),
        ({"model": keras.Sequential()}, {"batch_size"}),
    ],
)
@pytest.mark.parametrize("cls", [MLPKerasRegressor, MLPKerasClassifier])
def test_what_would_have_no_effect_is_left_out(cls, params, left):
    assert names(cls(**params)) == left


@pytest.mark.parametrize("kind", ["regressor", "classifier"])
def test_kinds_and_prefixes(kind):
    assert names(kind) == EVERYTHING
    assert names(kind, prefix="net") == {f"net__{name}" for name in EVERYTHING}


def test_a_kind_is_nothing_to_find_a_learning_rate_for(scaled):
    with pytest.raises(TypeError, match="An instance of an estimator"):
        find_learning_rate("regressor", *scaled)


def test_each_call_returns_a_dict_of_its_own():
    param_distributions("regressor").clear()
    assert names("regressor") == EVERYTHING


def test_learning_rates_are_log_uniform_and_fit_the_optimizer():
    def middle(**params):
        rates = param_distributions(MLPKerasRegressor(**params))["learning_rate"]
        assert isinstance(rates.dist, type(stats.loguniform))
        return rates.median()

    assert middle(optimizer="sgd") == pytest.approx(10 * middle(optimizer="AdamW"))
    assert middle(optimizer=keras.optimizers.SGD) == middle(optimizer="SGD")


@pytest.mark.parametrize(
    "estimator", ["nothing", Ridge(), make_pipeline(Ridge()), 3, MLPKerasRegressor]
)
@pytest.mark.parametrize("function", [names, lambda e: find_learning_rate(e, [], [])])
def test_what_is_none_of_skanns_is_refused(function, estimator):
    with pytest.raises(TypeError, match="estimator of skann"):
        function(estimator)


# -- find_learning_rate -------------------------------------------------------------


def test_the_divergence_rate_of_least_squares_is_the_one_of_theory(scaled):
    X, y = scaled
    # Gradient descent on all rows diverges above 2 / (largest eigenvalue of the
    # Hessian); the loss is the mean of squares, so the Hessian is 2 / n X'X.
    columns = np.column_stack([X, np.ones(len(X))])
    theory = 1 / np.linalg.eigvalsh(columns.T @ columns / len(X)).max()
    linear = MLPKerasRegressor(
        n_hidden=0, optimizer="sgd", batch_size=len(X), epochs=1500, random_state=0
    )
    found = find_learning_rate(linear, X, y)
    # Smoothing lets steps above that rate weigh on those below it: the rate found is on
    # the safe side, and within a factor of two.
    assert theory / 2 < found.divergence_rate < theory
    assert found.suggestion == found.divergence_rate / 2


def test_rates_rise_geometrically_until_the_loss_diverges(scaled):
    found = find_learning_rate(MLPKerasRegressor(**SMALL, optimizer="sgd"), *scaled)
    assert found.rates[0] == 1e-5
    assert found.rates[-1] < 10
    assert found.rates.shape == found.losses.shape
    steps = np.diff(np.log(found.rates))
    np.testing.assert_allclose(steps, steps[0])
    # At its end the loss is at least twice as high as at first, which is as high as it
    # counts.
    assert found.losses[-1] > 1.5 * found.losses[0] > 1.5 * found.losses.min()


def test_first_and_last_rate_can_be_given(scaled):
    found = find_learning_rate(
        MLPKerasRegressor(**SMALL), *scaled, min_rate=1e-4, max_rate=1e-2
    )
    assert (found.rates[0], found.rates[-1]) == (1e-4, 1e-2)


@pytest.mark.parametrize(
    "bounds", [(1, 0.1), (0, 1), ("a", 1), (0.1, None), (1, np.inf), (1, np.nan)]
)
def test_bounds_that_do_not_rise_are_refused(bounds, scaled):
    low, high = bounds
    with pytest.raises(ValueError, match="that rise"):
        find_learning_rate(MLPKerasRegressor(), *scaled, min_rate=low, max_rate=high)


def test_a_pipeline_transforms_and_nothing_is_fitted(california, scaled):
    alone = MLPKerasRegressor(**SMALL)
    pipeline = make_pipeline(StandardScaler(), alone)
    found = find_learning_rate(pipeline, *california)
    np.testing.assert_array_equal(
        found.losses, find_learning_rate(alone, *scaled).losses
    )
    assert not hasattr(alone, "model_")
    assert not hasattr(pipeline[0], "mean_")
    nested = make_pipeline("passthrough", pipeline)
    assert find_learning_rate(nested, *california).suggestion == found.suggestion


def test_weights_count(scaled):
    X, y = scaled
    model = MLPKerasRegressor(**SMALL)
    weight = np.where(np.arange(len(y)) < 250, 1.0, 0.0)
    weighted = find_learning_rate(model, X, y, weight)
    np.testing.assert_allclose(
        weighted.losses, find_learning_rate(model, X[:250], y[:250]).losses
    )


def below_zero(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1) - 5.0


def test_a_loss_may_be_negative(scaled):
    found = [
        find_learning_rate(
            MLPKerasRegressor(**SMALL, loss=loss, optimizer="sgd"), *scaled
        )
        for loss in ("mse", below_zero)
    ]
    rates = [test.divergence_rate for test in found]
    assert rates[1] == pytest.approx(rates[0], rel=0.5)
    assert found[1].losses.min() < -4
    assert found[1].plot().ax_.get_yscale() == "linear"
    plt.close("all")


def build_functional(input_shape, n_outputs):
    inputs = keras.Input(input_shape)
    hidden = keras.layers.Dense(8, activation="softsign")(inputs)
    return keras.Model(inputs, keras.layers.Dense(n_outputs)(hidden))


@pytest.mark.parametrize("model", [None, build_functional])
def test_every_engine_finds_the_same(model, scaled):
    params = {"epochs": 20, "random_state": 0}
    params |= {"n_neurons": 16} if model is None else {"model": model}
    found = [
        find_learning_rate(
            MLPKerasRegressor(**params, engine=engine), *scaled, max_rate=0.01
        )
        for engine in ("compiled", "keras")
    ]
    np.testing.assert_allclose(found[0].losses, found[1].losses, rtol=1e-4)


# -- learning_rate="auto" -----------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"dropout": 0.2, "normalization": "batch"}])
def test_auto_takes_the_suggestion_and_leaves_no_other_trace(params, scaled):
    auto = MLPKerasRegressor(**SMALL, **params, learning_rate="auto").fit(*scaled)
    assert auto.learning_rate_ == find_learning_rate(auto, *scaled).suggestion
    told = clone(auto).set_params(learning_rate=auto.learning_rate_).fit(*scaled)
    assert auto.history_ == told.history_
    for value, expected in zip(
        auto.model_.get_weights(), told.model_.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(value, expected)


def test_auto_tells_the_rate_where_the_fit_tells_anything(scaled, capsys):
    model = MLPKerasRegressor(**SMALL, learning_rate="auto", verbose=2).fit(*scaled)
    told = capsys.readouterr().out
    assert told.startswith(f"skann: learning rate {model.learning_rate_:.3g}")


def build_compiled(input_shape):
    model = keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.001))
    return model


@pytest.mark.parametrize(
    "params", [{"model": build_compiled}, {"optimizer": keras.optimizers.SGD(0.001)}]
)
def test_auto_sets_the_rate_of_any_optimizer(params, scaled):
    model = MLPKerasRegressor(**params, epochs=5, learning_rate="auto", random_state=0)
    model.fit(*scaled)
    assert model.learning_rate_ > 0.001
    assert float(model.model_.optimizer.learning_rate) == pytest.approx(
        model.learning_rate_
    )


def test_auto_of_a_classifier_that_goes_on(scaled):
    X, y = scaled
    labels = np.where(y > np.median(y), "high", "low")
    model = MLPKerasClassifier(**SMALL, learning_rate="auto")
    model.partial_fit(X, labels, classes=["high", "low"])
    rate = model.learning_rate_
    loaded = pickle.loads(pickle.dumps(model)).partial_fit(X, labels)
    assert loaded.learning_rate_ == rate
    assert float(loaded.model_.optimizer.learning_rate) == pytest.approx(rate)
    assert loaded.history_["loss"][1] < loaded.history_["loss"][0]


def test_a_fit_without_auto_has_no_learning_rate_left_from_one_with_it(scaled):
    model = MLPKerasRegressor(**SMALL, learning_rate="auto").fit(*scaled)
    assert not hasattr(
        model.set_params(learning_rate=0.01).fit(*scaled), "learning_rate_"
    )


class Silent(keras.Sequential):
    def train_step(self, data):
        return {"quiet": super().train_step(data)["loss"]}


def build_silent(input_shape):
    return Silent([keras.Input(input_shape), keras.layers.Dense(1)])


def build_scheduled(input_shape):
    model = build_compiled(input_shape)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(schedule))
    return model


def test_a_batch_without_any_loss_decides_nothing():
    X, y = load_wine(return_X_y=True)  # Not scaled: losses are 0 or in the hundreds.
    for seed in range(4):
        model = MLPKerasClassifier(epochs=30, random_state=seed)
        # Rows of such sizes make chaos of the steps: rounding moves the suggestions by
        # a factor of 2 or so. None is at the first rates, and all of them train.
        rate = find_learning_rate(model, X, y).suggestion
        losses = model.set_params(learning_rate=rate).fit(X, y).loss_curve_
        assert rate > 1e-4
        assert losses[-1] < losses[0] / 10


def test_a_suggestion_with_which_training_explodes_is_halved(scaled):
    X, y = scaled
    # The loss falls by the size of X alone, at whatever rate; then it grows.
    found = find_learning_rate(MLPKerasRegressor(**SMALL), 1e4 * X, y)
    model = MLPKerasRegressor(**SMALL, learning_rate=found.suggestion).fit(1e4 * X, y)
    assert model.loss_curve_[-1] < found.losses[0]


def no_loss(y_true, y_pred):
    return keras.ops.mean(0.0 * y_pred, axis=-1)


def test_a_test_is_short_when_shown(scaled):
    found = find_learning_rate(MLPKerasRegressor(**SMALL), *scaled)
    assert len(repr(found)) < 100
    assert found in {found}


def test_a_rate_set_later_is_no_longer_the_one_found(scaled):
    model = MLPKerasRegressor(**SMALL, learning_rate="auto", warm_start=True)
    rate = model.fit(*scaled).learning_rate_
    assert model.fit(*scaled).learning_rate_ == rate
    model.set_params(learning_rate=0.01).fit(*scaled)
    assert not hasattr(model, "learning_rate_")
    assert float(model.model_.optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"loss": no_loss}, "0 at every learning rate"),
        ({"model": build_scheduled}, "schedule"),
        ({"model": build_silent, "monitor": "quiet"}, r"reports \['quiet'\]"),
        ({"optimizer_kwargs": {"learning_rate": 0.1}}, "no effect"),
    ],
)
def test_auto_says_why_it_cannot(params, said, scaled):
    model = MLPKerasRegressor(**params, learning_rate="auto", epochs=2)
    with pytest.raises(ValueError, match=said):
        model.fit(*scaled)


def test_auto_says_when_no_rate_is_small_enough(scaled):
    X, y = scaled
    model = MLPKerasRegressor(
        n_hidden=0, optimizer="sgd", learning_rate="auto", normalize_y=False, epochs=2
    )
    with pytest.raises(DivergenceError, match="StandardScaler"):
        model.fit(1e30 * X, y)


# -- its picture --------------------------------------------------------------------


def test_the_picture_marks_both_rates(scaled):
    estimator = MLPKerasRegressor(**SMALL)
    test = find_learning_rate(estimator, *scaled)
    drawn = test.plot()
    assert drawn.suggestion_line_.get_xdata()[0] == test.suggestion
    assert drawn.divergence_line_.get_xdata()[0] == test.divergence_rate
    np.testing.assert_array_equal(drawn.line_.get_ydata(), test.losses)
    _, ax = plt.subplots()
    again = LearningRateDisplay.from_estimator(estimator, *scaled, max_rate=1.0, ax=ax)
    assert again.ax_ is ax
    assert again.test.rates[-1] <= 1.0
    plt.close("all")
