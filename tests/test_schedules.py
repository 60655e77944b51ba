"""Learning-rate schedules by name, against Keras' own way to have them."""

import pickle
from functools import cache

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._training import work
from skann._training.graph.cache import PROGRAMS
from skann._training.schedules import FORMULAS, Schedule

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = X[:, 0] + X[:, 1] ** 2
N_STEPS, N_EPOCHS, RATE = 4, 3, 0.02  # The last batch of an epoch has two rows.
BRIEF = {
    "hidden_layer_sizes": (5,),
    "epochs": N_EPOCHS,
    "batch_size": 16,
    "learning_rate": RATE,
    "random_state": 0,
}


# -- the formulas ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "t", "expected"),
    [
        ("cosine", [0, 1 / 3, 0.5, 1], [1, 0.75, 0.5, 0]),
        ("linear", [0, 0.25, 1], [1, 0.75, 0]),
        ("flat-cosine", [0, 0.3, 0.5, 0.75, 1], [1, 1, 1, 0.5, 0]),
        # Half-way up, and half-way down, it is the mean of what it goes between.
        ("one-cycle", [0, 0.15, 0.3], [0.04, 0.52, 1]),
        ("one-cycle", [0.65, 1], [(1 + 4e-6) / 2, 4e-6]),
        ("coslog4", [0, 1 / 15, 3 / 15, 7 / 15, 1], [0, 0, 0, 0, 0]),
        ("coslog4", (2.0 ** np.array([0.5, 1.5, 2.5, 3.5]) - 1) / 15, [1, 1, 1, 1]),
        ("coslog4", (2.0 ** np.array([0.25, 3.75]) - 1) / 15, [0.5, 0.5]),
    ],
)
def test_formula(name, t, expected):
    np.testing.assert_allclose(FORMULAS[name](np.array(t)), expected, atol=1e-12)


def test_factors_run_through_the_epochs_of_a_fit():
    schedule = Schedule("linear", first_epoch=5, n_epochs=2)
    np.testing.assert_allclose(schedule.factors(5, 4), [1, 0.875, 0.75, 0.625])
    np.testing.assert_allclose(schedule.factors(6, 4), [0.5, 0.375, 0.25, 0.125])


@pytest.mark.parametrize("name", FORMULAS)
def test_factors_before_the_first_epoch_are_the_first_one(name):
    schedule = Schedule(name, first_epoch=5, n_epochs=2)
    first = schedule.factors(5, 1)
    np.testing.assert_array_equal(schedule.factors(2, 3), np.repeat(first, 3))


# -- the same by every way -------------------------------------------------------------


class Listed(keras.optimizers.schedules.LearningRateSchedule):
    """One of Keras' own schedules, of the rate of each step."""

    def __init__(self, rates):
        self.rates = np.float32(rates)

    def __call__(self, step):
        return keras.ops.take(self.rates, step)

    def get_config(self):
        return {"rates": self.rates.tolist()}


def as_keras_has_it(name, n_epochs=N_EPOCHS, rate=RATE):
    n_steps = n_epochs * N_STEPS
    return rate * FORMULAS[name](np.arange(n_steps) / n_steps)


def normed(input_shape, n_outputs):
    """A network of which no step runs in NumPy, and the short batch by itself."""
    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Dense(4, "tanh", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(n_outputs),
        ]
    )


class OwnStep(keras.Model):
    """A network with a train step of its own."""

    def __init__(self, n_outputs):
        super().__init__()
        self.top = keras.layers.Dense(n_outputs)

    def call(self, inputs):
        return self.top(inputs)

    def train_step(self, data):
        return {**super().train_step(data), "bias": keras.ops.sum(self.top.bias)}


def own_step(n_outputs):
    return OwnStep(n_outputs)


def small(**params):
    """Return a regressor, of a build function or of skann's own network in float64."""
    built = {"hidden_layer_sizes": None} if "model" in params else {"dtype": "float64"}
    return MLPKerasRegressor(**{**BRIEF, **built, **params})


def assert_alike(ours, theirs, rtol=2e-5):
    assert ours.history_.keys() == theirs.history_.keys()
    for name, values in theirs.history_.items():
        np.testing.assert_allclose(ours.history_[name], values, rtol=rtol, err_msg=name)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-4, atol=1e-5)


@cache
def by_a_schedule_of_keras(model, name="one-cycle"):
    """Return what Keras trains by such a schedule of its own."""
    params = {} if model is None else {"model": model}
    rate = Listed(as_keras_has_it(name))
    return small(**params, learning_rate=rate, engine="keras").fit(X, Y)


@pytest.mark.parametrize(
    ("way", "params"),
    [
        ("numpy", {}),
        ("numpy", {"callbacks": [keras.callbacks.Callback()]}),
        ("graph", {"engine": "compiled", "model": normed}),
        ("graph", {"model": own_step}),
        ("compiled", {}),
        ("compiled", {"model": normed}),
        ("keras", {}),
        ("keras", {"compile_kwargs": {"steps_per_execution": 3}}),
        ("keras", {"compile_kwargs": {"run_eagerly": True}}),
    ],
)
def test_is_a_schedule_of_keras(monkeypatch, way, params):
    if way == "compiled":
        monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    params = {"engine": "keras" if way == "keras" else "auto", **params}
    ours = small(**params, learning_rate_schedule="one-cycle").fit(X, Y)
    assert ours.engine_ == way
    assert_alike(ours, by_a_schedule_of_keras(params.get("model")))
    assert float(ours.model_.optimizer.learning_rate) == np.float32(RATE)


@pytest.mark.parametrize("name", ["coslog4", "flat-cosine"])
def test_others_in_numpy_are_as_in_a_graph(name):
    ours = small(learning_rate_schedule=name).fit(X, Y)
    assert ours.engine_ == "numpy"
    theirs = small(learning_rate=Listed(as_keras_has_it(name))).fit(X, Y)
    assert theirs.engine_ == "graph"
    assert_alike(ours, theirs)
    assert not np.allclose(ours.loss_curve_, small().fit(X, Y).loss_curve_, rtol=1e-3)


def reducing():
    return keras.callbacks.ReduceLROnPlateau("loss", min_delta=9, patience=0)


def falling():
    return keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate)


@pytest.mark.parametrize(
    ("engine", "callback", "times"),
    [("auto", falling, [0.5, 0.25, 0.125]), ("keras", reducing, [1, 1, 0.1])],
)
def test_what_a_callback_makes_of_the_rate_is_multiplied(engine, callback, times):
    rows = {"sample_weight": RNG.uniform(1, 2, 50), "X_val": X[:20], "y_val": Y[:20]}
    ours = small(learning_rate_schedule="linear", engine=engine, early_stopping=False)
    ours.fit(X, Y, callbacks=[callback()], **rows)
    rates = np.repeat(times, N_STEPS) * as_keras_has_it("linear")
    theirs = small(learning_rate=Listed(rates), early_stopping=False)
    told = ours.history_.pop("learning_rate")
    np.testing.assert_allclose(told, RATE * np.array(times), rtol=1e-6)
    assert_alike(ours, theirs.fit(X, Y, **rows))


def test_scaled_losses_have_a_schedule():
    def optimizer(rate):
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(rate))

    ours = small(optimizer=optimizer(RATE), learning_rate=None)
    ours.set_params(learning_rate_schedule="cosine").fit(X, Y)
    rate = Listed(as_keras_has_it("cosine"))
    theirs = small(optimizer=optimizer(rate), learning_rate=None, engine="keras")
    assert_alike(ours, theirs.fit(X, Y))


# -- how long it lasts -----------------------------------------------------------------


def test_it_spans_the_epochs_that_were_planned():
    stopping = {"early_stopping": True, "patience": 0, "monitor": "loss"}
    stopping |= {"min_delta": 9.0, "restore_best_weights": False}
    brief = small(learning_rate_schedule="cosine", **stopping).fit(X, Y, epochs=10)
    whole = small(learning_rate_schedule="cosine", epochs=10).fit(X, Y)
    assert brief.n_iter_ == 2
    assert brief.loss_curve_ == whole.loss_curve_[:2]


@cache
def by_the_rates_of_several_fits():
    plain = [RATE] * N_STEPS
    rates = [plain, as_keras_has_it("cosine"), as_keras_has_it("linear", 2), plain]
    return small(learning_rate=Listed(np.concatenate(rates)), epochs=7).fit(X, Y)


@pytest.mark.parametrize(
    "params", [{}, {"callbacks": [keras.callbacks.Callback()]}, {"engine": "keras"}]
)
def test_each_fit_begins_anew_and_partial_fit_is_at_the_plain_rate(params):
    ours = small(learning_rate_schedule="cosine", warm_start=True, **params)
    ours.partial_fit(X, Y).fit(X, Y)
    ours = pickle.loads(pickle.dumps(ours))
    ours.set_params(learning_rate_schedule="linear").fit(X, Y, epochs=2)
    assert_alike(ours.partial_fit(X, Y), by_the_rates_of_several_fits())


class Looks(keras.callbacks.Callback):
    """Notes the learning rate, and fails if it is told to."""

    def __init__(self, error=None, at=4):
        super().__init__()
        self.error, self.at = error, at
        self.rates = []

    def on_epoch_end(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))
        if self.error is not None and epoch == self.at:
            raise self.error


@pytest.mark.parametrize("params", [{}, {"model": normed}, {"engine": "keras"}])
def test_the_rate_is_the_plain_one_for_all_others(params):
    model = small(learning_rate_schedule="coslog4", warm_start=True, **params)
    model.fit(X, Y, callbacks=[Looks()])
    assert model.callbacks_[0].rates == [float(np.float32(RATE))] * N_EPOCHS
    for error in (KeyboardInterrupt(), ValueError("of a callback")):
        with pytest.raises(type(error)):
            model.fit(X, Y, callbacks=[Looks(error)])
        assert float(model.model_.optimizer.learning_rate) == np.float32(RATE)
    assert "train_step" not in vars(model.model_)


def test_a_restart_goes_on_where_it_was(tmp_path):
    model = small(learning_rate_schedule="cosine")
    whole = clone(model).fit(X, Y).loss_curve_
    kept = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(RuntimeError):
        model.fit(X, Y, callbacks=[Looks(RuntimeError(), at=1), kept])
    np.testing.assert_allclose(model.fit(X, Y, callbacks=[kept]).loss_curve_, whole[1:])


# -- programs --------------------------------------------------------------------------


def test_schedules_share_a_program(monkeypatch):
    monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    PROGRAMS.clear()
    few = {"batch_size": 20, "activation": "tanh"}
    for name, n_rows, epochs in (("cosine", 50, 3), ("coslog4", 41, 2)):
        model = small(learning_rate_schedule=name, learning_rate=0.1 / epochs, **few)
        assert model.fit(X[:n_rows], Y[:n_rows], epochs=epochs).engine_ == "compiled"
    assert len(PROGRAMS) == 1
    small(**few).fit(X, Y)
    assert len(PROGRAMS) == 2


# -- the parameter ---------------------------------------------------------------------


def test_a_search_tries_schedules():
    grid = {"learning_rate_schedule": [None, "cosine"]}
    labels = np.digitize(Y, [0, 1])
    model = MLPKerasClassifier(**BRIEF)
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(X, labels)
    scores = [search.cv_results_[f"split{i}_test_score"] for i in range(2)]
    assert np.isfinite(scores).all()
    best = clone(search.best_estimator_).fit(X, labels)
    assert best.loss_curve_ == search.best_estimator_.loss_curve_


def test_the_range_test_finds_the_rate_without_it():
    few = {"learning_rate": "auto", "epochs": 1}
    plain = small(**few).fit(X, Y)
    scheduled = small(learning_rate_schedule="linear", **few).fit(X, Y)
    assert scheduled.learning_rate_ == plain.learning_rate_
    assert scheduled.loss_curve_ != plain.loss_curve_


def multi(n_outputs):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(n_outputs)])
    inner = keras.optimizers.OptimizerMap(keras.optimizers.SGD())
    model.compile(keras.optimizers.MultiOptimizer(inner), "mse")
    return model


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"learning_rate": Listed([0.1] * 99)}, "that of Adam is the schedule Listed"),
        ({"model": multi, "learning_rate": None}, "MultiOptimizer has none"),
    ],
)
def test_an_optimizer_without_one_rate_is_refused(params, what):
    model = small(warm_start=True, **params).fit(X, Y)
    before = model.loss_curve_
    model.set_params(learning_rate_schedule="cosine")
    with pytest.raises(ValueError, match=what) as error:
        model.fit(X, Y)
    assert "learning_rate_schedule='cosine'" in str(error.value)
    assert "\n" not in str(error.value)
    assert model.loss_curve_ == before
    model.partial_fit(X, Y)


class CompilesAnew(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.compile(keras.optimizers.SGD(Listed([0.1] * 99)), "mse")


@pytest.mark.parametrize("engine", ["compiled", "keras"])
def test_so_is_one_that_a_callback_brings(engine):
    model = small(learning_rate_schedule="cosine", engine=engine)
    with pytest.raises(ValueError, match="that of SGD is the schedule Listed"):
        model.fit(X, Y, callbacks=[CompilesAnew()])


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"'learning_rate_schedule'.*'coslog4'"):
        small(learning_rate_schedule="cosin").fit(X, Y)


def test_a_callback_takes_steps_of_its_own_at_the_plain_rate():
    class Steps(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.train_on_batch(X[:8], Y[:8])

    params = {"learning_rate_schedule": "cosine", "epochs": 3, "shuffle": False}
    params |= {"hidden_layer_sizes": [4], "random_state": 0, "callbacks": [Steps()]}
    model = MLPKerasRegressor(**params, normalize_y=False).fit(X, Y)
    by_keras = MLPKerasRegressor(**params, normalize_y=False, engine="keras").fit(X, Y)
    np.testing.assert_allclose(model.loss_curve_, by_keras.loss_curve_, rtol=1e-5)
