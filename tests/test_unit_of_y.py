"""y's own unit: normalisation is a means of training, and shows nowhere."""

import pickle

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.model_selection import GridSearchCV

from skann import MLPKerasRegressor
from skann._keras.unit_layer import unit_layer
from skann._training import work
from skann._training.graph import program
from skann.search import find_learning_rate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = 1000.0 + 200.0 * (X[:, 0] * X[:, 1] + X[:, 2]) + RNG.normal(size=120)
# Columns in units of their own.
WIDE = np.column_stack([Y, 1e-3 * Y + X[:, 3], 5e6 * X[:, 1] - 1e8])
QUICK = {"hidden_layer_sizes": [8], "epochs": 6, "random_state": 0, "batch_size": 16}


def pinball(y_true, y_pred):
    error = y_true - y_pred
    return keras.ops.mean(keras.ops.maximum(0.9 * error, -0.1 * error), axis=-1)


class Cubed(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)


def clipped(y_true, y_pred):
    """Is no power of the unit: it is bounded."""
    return keras.ops.minimum((y_true - y_pred) ** 2, 100.0)


def relative(y_true, y_pred):
    """Grows by the unit, but does not bear a shift."""
    return keras.ops.abs(y_true - y_pred) / (0.1 + keras.ops.abs(y_true / y_pred))


# How a fit runs: in NumPy, without a model and with one; graph, compiled, by Keras.
WAYS = {
    "late": {},
    "dense": {"callbacks": [keras.callbacks.LambdaCallback()]},
    "graph": {"dropout": 1e-9},
    "compiled": {"dropout": 1e-9},
    "keras": {"engine": "keras"},
    "float32": {"dtype": "float32", "dropout": 1e-9},
}


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    if request.param in ("compiled", "float32"):
        monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 1)
    return {**QUICK, **WAYS[request.param]}


@pytest.mark.parametrize("y", [Y, WIDE], ids=["one", "several"])
def test_the_model_speaks_ys_unit(way, y):
    model = MLPKerasRegressor(**way, loss="mse").fit(X, y, X_val=X, y_val=y)
    predicted = model.predict(X)
    outputs = model.model_.predict(X, verbose=0).reshape(predicted.shape)
    assert (np.abs(outputs - predicted).max(axis=0) < 1e-5 * y.std(axis=0)).all()
    last = {name: values[model.best_epoch_] for name, values in model.history_.items()}
    evaluated = model.model_.evaluate(X, y, verbose=0)
    assert evaluated == pytest.approx(mean_squared_error(y, predicted), rel=1e-4)
    assert last["val_loss"] == pytest.approx(evaluated, rel=1e-4)


@pytest.fixture(scope="module")
def by_keras():
    """Return what fits by Keras: once for a loss and a network, however it is run."""
    fitted = {}

    def fit(params, *data):
        key = str([params["loss"], params.get("dtype"), params.get("dropout")])
        if key not in fitted:
            how = {**params, "engine": "keras", "callbacks": None}
            fitted[key] = MLPKerasRegressor(**how).fit(*data)
        return fitted[key]

    return fit


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "huber", pinball, Cubed, keras.losses.LogCosh()]
)
def test_every_way_trains_as_keras_does(way, loss, by_keras):
    y = Y / 200.0 if isinstance(loss, keras.losses.LogCosh) else Y
    params = {**way, "loss": loss, "metrics": ["mae"], "shuffle": False}
    weight = np.random.default_rng(1).uniform(0.5, 2.0, size=120)
    model = MLPKerasRegressor(**params).fit(X, y, weight)
    expected = by_keras(params, X, y, weight)
    assert unit_layer(expected.model_) is not None
    rtol = 1e-3 if way.get("dtype") == "float32" else 1e-5
    for name, values in expected.history_.items():
        np.testing.assert_allclose(model.history_[name], values, rtol=rtol)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=rtol)


@pytest.mark.parametrize(
    ("loss", "power"),
    [("mse", 2), ("mae", 1), (pinball, 1), (Cubed, 3)],
)
@pytest.mark.parametrize(("factor", "shift"), [(1e4, 0.0), (1e-3, 50.0)])
def test_the_unit_changes_nothing_but_the_unit(loss, power, factor, shift):
    model = MLPKerasRegressor(**QUICK, loss=loss).fit(X, Y)
    other = MLPKerasRegressor(**QUICK, loss=loss).fit(X, factor * Y + shift)
    # A loss of the user's own computes in float32.
    expected = factor * model.predict(X) + shift
    np.testing.assert_allclose(other.predict(X), expected, rtol=1e-5)
    expected = factor**power * np.array(model.loss_curve_)
    np.testing.assert_allclose(other.loss_curve_, expected, rtol=1e-3)


@pytest.mark.parametrize("delta", [1.0, 100.0, 1e6])
def test_the_delta_of_huber_is_in_the_unit_of_y(delta):
    params = {**QUICK, "epochs": 40, "loss": "huber", "learning_rate": 0.02}
    small = MLPKerasRegressor(**params, loss_kwargs={"delta": delta}).fit(X, Y)
    large = MLPKerasRegressor(**params).set_params(loss__delta=1e3 * delta)
    large.fit(X, 1e3 * Y)
    np.testing.assert_allclose(large.predict(X), 1e3 * small.predict(X), rtol=1e-5)
    expected = 1e6 * np.array(small.loss_curve_)
    np.testing.assert_allclose(large.loss_curve_, expected, rtol=1e-4)
    # Whatever delta is, the steps are of a size that learns.
    assert small.score(X, Y) > 0.5


def test_each_column_is_learned_as_well_as_by_itself():
    params = {**QUICK, "epochs": 60, "learning_rate": 0.02}
    model = MLPKerasRegressor(**params).fit(X, WIDE)
    predicted = model.predict(X)
    for column, own in zip(WIDE.T, predicted.T, strict=True):
        assert mean_squared_error(column, own) < 0.5 * np.var(column)
    # What is reported is Keras' loss, in which the largest numbers decide.
    assert model.history_["loss"][-1] > 1e10


def test_least_improvements_are_in_the_unit_of_y():
    params = {**QUICK, "epochs": 50, "early_stopping": True, "patience": 1}
    model = MLPKerasRegressor(**params, min_delta=1e9).fit(X, Y)
    assert model.n_iter_ == 2  # No loss of such a y is so large.
    assert MLPKerasRegressor(**params, min_delta=1e-6).fit(X, Y).n_iter_ > 2


class Watches(keras.callbacks.Callback):
    seen = []

    def on_epoch_end(self, epoch, logs=None):
        outputs = self.model.predict(X, verbose=0)
        evaluated = self.model.evaluate(X, Y, verbose=0)
        self.seen.append(
            (logs["val_loss"], evaluated, np.mean((outputs - Y[:, None]) ** 2))
        )


def test_callbacks_see_ys_unit(way):
    Watches.seen.clear()
    params = {**way, "callbacks": [Watches()]}
    MLPKerasRegressor(**params).fit(X, Y, X_val=X, y_val=Y)
    for reported, evaluated, computed in Watches.seen:
        assert reported == pytest.approx(evaluated, rel=1e-4)
        assert computed == pytest.approx(evaluated, rel=1e-4)
    assert len(Watches.seen) == QUICK["epochs"]


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_file_predicts_y_by_keras_alone(tmp_path, ending):
    path = tmp_path / f"best{ending}"
    model = MLPKerasRegressor(**QUICK, checkpoint_path=path, monitor="loss").fit(X, Y)
    loaded = keras.models.load_model(path, compile=False)
    outputs = loaded.predict(X, verbose=0).ravel()
    np.testing.assert_allclose(outputs, model.predict(X), rtol=1e-5)
    model.model_.save(tmp_path / f"own{ending}")
    loaded = keras.models.load_model(tmp_path / f"own{ending}", compile=False)
    outputs = loaded.predict(X, verbose=0).ravel()
    np.testing.assert_allclose(outputs, model.predict(X), rtol=1e-5)


@pytest.mark.parametrize(
    "again", [lambda m: m, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_going_on_is_exact(way, again):
    params = {**way, "warm_start": True, "early_stopping": False}
    whole = MLPKerasRegressor(**params).fit(X, Y)
    half = MLPKerasRegressor(**{**params, "epochs": 3}).fit(X, Y)
    # Another y does not change what the unit was fixed to.
    assert whole.history_["loss"][:3] == pytest.approx(half.history_["loss"], rel=1e-6)
    half = again(half).fit(X, Y)
    np.testing.assert_allclose(half.predict(X), whole.predict(X), rtol=1e-5)
    np.testing.assert_allclose(half.loss_curve_, whole.loss_curve_, rtol=1e-4)
    before = half.predict(X)
    half.partial_fit(X, 2.0 * Y)
    assert np.abs(half.predict(X) - before).max() > 0


def test_a_large_mean_leaves_small_deviations_to_learn():
    y = 1e7 + X[:, 0] + X[:, 1]
    for dropout in (0.0, 1e-9):
        params = {**QUICK, "epochs": 60, "learning_rate": 0.02, "dropout": dropout}
        model = MLPKerasRegressor(**params, dtype="float32").fit(X, y)
        assert model.score(X, y) > 0.9


@pytest.mark.parametrize("factor", [1e30, 1e-30])
@pytest.mark.parametrize("dropout", [0.0, 1e-9])
def test_an_extreme_unit_is_learned(factor, dropout):
    params = {**QUICK, "epochs": 60, "learning_rate": 0.02, "dropout": dropout}
    model = MLPKerasRegressor(**params).fit(X, Y)
    extreme = MLPKerasRegressor(**params).fit(X, factor * Y)
    assert extreme.n_iter_ == 60
    np.testing.assert_allclose(extreme.predict(X) / factor, model.predict(X), rtol=1e-4)


@pytest.mark.parametrize("loss", [clipped, relative, "poisson", "msle"])
def test_a_loss_bound_to_a_unit_leaves_y_as_it_is(capsys, loss):
    y = np.abs(Y) / 1000
    params = {**QUICK, "loss": loss, "epochs": 1, "output_activation": "softplus"}
    model = MLPKerasRegressor(**params, verbose=2).fit(X, y)
    name = getattr(loss, "__name__", loss)
    assert "y is not normalised" in capsys.readouterr().out
    assert unit_layer(model.model_) is None
    with pytest.raises(ValueError, match=r"normalize_y=True .*bound to a unit"):
        MLPKerasRegressor(**params, normalize_y=True).fit(X, y)
    assert name


def test_columns_are_left_where_keras_would_take_them_for_channels():
    keras.config.set_image_data_format("channels_first")
    try:
        model = MLPKerasRegressor(**QUICK).fit(X, WIDE)
        outputs = model.model_.predict(X, verbose=0)
        np.testing.assert_allclose(outputs, model.predict(X), rtol=1e-4)
        one = MLPKerasRegressor(**QUICK).fit(X, Y)
        outputs = one.model_.predict(X, verbose=0).ravel()
        np.testing.assert_allclose(outputs, one.predict(X), rtol=1e-4)
    finally:
        keras.config.set_image_data_format("channels_last")


def huber(y_true, y_pred):
    """Has the name of a loss of Keras', and is another one."""
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) / keras.ops.abs(y_true), -1)


def test_a_loss_of_the_users_own_is_not_taken_for_one_of_keras():
    model = MLPKerasRegressor(**QUICK, loss=huber).fit(X, Y)
    assert unit_layer(model.model_) is None


def sequential(input_shape):
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)])


def functional(input_shape):
    rows = keras.Input(input_shape)
    model = keras.Model(rows, keras.layers.Dense(1)(rows))
    model.compile(optimizer="adam", loss="mae", metrics=["mse"])
    return model


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize("build", [sequential, functional, lambda: Subclass()])
def test_a_build_functions_network_is_left_as_it_is(build):
    model = MLPKerasRegressor(build, epochs=1, random_state=0).fit(X, Y)
    assert len(model.model_.layers) == len(
        build((4,)).layers if build in (sequential, functional) else [0]
    )
    assert unit_layer(model.model_) is None


@pytest.mark.parametrize("build", [sequential, functional, functional((4,))])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_a_build_functions_network_can_be_given_the_unit(build, engine):
    params = {"normalize_y": True, "engine": engine, "random_state": 0}
    model = (
        MLPKerasRegressor(build, **params, learning_rate=0.003)
        if build is sequential
        else MLPKerasRegressor(build, **params)
    )
    model.set_params(epochs=20).fit(X, Y)
    assert unit_layer(model.model_) is not None
    predicted = model.predict(X)
    metric = mean_squared_error if build is sequential else mean_absolute_error
    evaluated = np.ravel(model.model_.evaluate(X, Y, verbose=0))[0]
    assert evaluated == pytest.approx(metric(Y, predicted), rel=1e-4)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X), predicted)


def test_a_network_with_steps_of_its_own_cannot():
    with pytest.raises(ValueError, match=r"normalize_y=True .*Subclass"):
        MLPKerasRegressor(lambda: Subclass(), normalize_y=True, epochs=1).fit(X, Y)


def test_training_by_keras_afterwards_has_the_losses_own_gradients():
    model = MLPKerasRegressor(**QUICK, engine="keras", optimizer="sgd").fit(X, Y)
    network = model.model_
    network.optimizer.learning_rate = 1e-9
    kernel = network.layers[0].kernel
    before = kernel.numpy().copy()
    expected = [before]

    with_plain_gradients = keras.models.clone_model(network)
    with_plain_gradients.set_weights(network.get_weights())
    with_plain_gradients.compile(keras.optimizers.SGD(1e-9), "mse")
    with_plain_gradients.fit(X, Y, epochs=1, shuffle=False, verbose=0)
    network.fit(X, Y, epochs=1, shuffle=False, verbose=0)
    expected = with_plain_gradients.layers[0].kernel.numpy()
    assert np.abs(expected - before).max() > 0
    np.testing.assert_allclose(kernel.numpy(), expected, rtol=1e-5, atol=1e-12)


def test_one_program_serves_every_unit():
    params = {**QUICK, "dropout": 0.3, "batch_size": 17}
    MLPKerasRegressor(**params).fit(X, Y)
    n_programs = len(program.PROGRAMS)
    MLPKerasRegressor(**params).fit(X, 3.0 * Y + 7.0)
    search = GridSearchCV(MLPKerasRegressor(**params), {"learning_rate": [0.01]}, cv=3)
    search.fit(X[:], 5.0 * Y)
    assert len(program.PROGRAMS) == n_programs


@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_a_range_test_does_not_depend_on_the_unit(engine):
    params = {**QUICK, "engine": engine}
    suggestions = [
        find_learning_rate(MLPKerasRegressor(**params), X, factor * Y).suggestion
        for factor in (1.0, 1e5)
    ]
    assert suggestions[0] == pytest.approx(suggestions[1], rel=1e-3)


def test_a_clone_learns_the_unit_of_its_own_rows():
    model = MLPKerasRegressor(**QUICK).fit(X, Y)
    other = clone(model).fit(X, 1e6 + Y)
    assert 9e5 < other.predict(X).mean() < 1.1e6
    assert model.predict(X).mean() < 2000


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_a_build_function_may_return_the_same_model_again(kind):
    network = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    if kind == "functional":
        network = keras.Model(network.inputs, network.outputs)
    rows = np.random.default_rng(0).normal(size=(40, 4))
    given = {"normalize_y": True, "epochs": 2, "random_state": 0}
    models = []
    for shift in (500.0, 5000.0):
        model = MLPKerasRegressor(lambda: network, **given)
        models.append(model.fit(rows, 10 * rows.sum(axis=1) + shift))
    models[0].fit(rows, 10 * rows.sum(axis=1) + 500.0)
    assert [layer.name for layer in network.layers][-1].startswith("dense")
    for model, shift in zip(models, (500.0, 5000.0), strict=True):
        names = [layer.name for layer in model.model_.layers]
        assert names.count("unit_of_y") == 1
        assert np.abs(model.predict(rows) - shift).max() < 200
        outputs = model.model_.predict(rows, verbose=0).ravel()
        np.testing.assert_allclose(model.predict(rows), outputs, rtol=1e-5)
