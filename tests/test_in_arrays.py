"""Networks in arrays, whose Keras model is made when someone asks for it."""

import copy
import inspect
import pickle
import random
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._network.arguments import COMPILE_PARAMETERS, NETWORK_PARAMETERS
from skann._network.in_arrays import NEED_KERAS
from skann._network.sources import Recipe
from skann._training.numpy.initial import _initial
from skann._training.numpy.trainer import DenseTrainer
from skann.exceptions import DivergenceError

X, SPECIES = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
BRIEF = {"n_neurons": 10, "epochs": 3, "random_state": 0}

TARGETS = {
    "regression": (MLPKerasRegressor, X[:, 0] * 3 + 1),
    "two outputs": (MLPKerasRegressor, X[:, :2]),
    "binary": (MLPKerasClassifier, SPECIES == 1),
    "multiclass": (MLPKerasClassifier, np.array(["b", "c", "a"])[SPECIES]),
    "multilabel": (MLPKerasClassifier, np.column_stack([SPECIES > 0, X[:, 1] > 0])),
}
SETTINGS = [
    {},
    {"dtype": "float32"},
    {"dtype": "float64", "n_hidden": 1, "shuffle": False, "batch_size": 150},
    {"n_hidden": 0, "l1": 0.01},
    {
        "hidden_layer_sizes": (7, np.int64(5), 3),
        "activation": "tanh",
        "batch_size": 150,
    },
    {"activation": "sigmoid", "l2": 0.1, "l1": 0.05, "batch_size": 7},
    {"activation": "linear", "learning_rate": np.float32(0.01), "optimizer": "Adam"},
    {"activation": ["relu", "tanh"], "kernel_initializer": "glorot_uniform"},
    {"optimizer": "sgd", "optimizer_kwargs": {"momentum": 0.9}, "dtype": "float32"},
    {"optimizer": "SGD", "kernel_initializer": "he_uniform", "l2": 0.01},
    {"optimizer_kwargs": {"beta_1": 0.5, "epsilon": np.float32(1e-5)}, "loss": None},
]


def is_in_arrays(estimator):
    return estimator._network._arrays is not None


def is_made(estimator):
    return estimator._network._keras is not None


def made_first(estimator, *data, **more):
    """Fit an estimator whose Keras model is there from the start."""
    fitted = clone(estimator).fit(*data, callbacks=[keras.callbacks.Callback()], **more)
    assert not is_in_arrays(fitted)
    return fitted


def outputs(estimator):
    return getattr(estimator, "predict_proba", estimator.predict)(X)


def values(model):
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


def assert_same(found, expected):
    for mine, yours in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_it_is_the_model_that_would_have_been_there(target, settings, weighted):
    cls, y = TARGETS[target]
    weight = np.arange(len(y)) % 3 if weighted else None
    late = cls(**{**BRIEF, **settings}).fit(X, y, weight)
    early = made_first(late, X, y, sample_weight=weight)
    assert not is_made(late)
    # The other one was trained in the same way, from what Keras had drawn.
    assert late.history_ == early.history_
    np.testing.assert_array_equal(outputs(late), outputs(early))
    assert not is_made(late)
    assert_same(values(late.model_), values(early.model_))
    assert late.model_.get_config() == early.model_.get_config()
    assert late.model_.get_compile_config() == early.model_.get_compile_config()
    assert late.model_.history.history == early.model_.history.history
    # Only the callback that had the model made tells it apart.
    assert vars(late).keys() == vars(early).keys() - {"callbacks_"}
    np.testing.assert_array_equal(outputs(late), outputs(early))
    assert late.model_ is late.model_


@pytest.mark.parametrize("best", [True, False], ids=["best", "last"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("own", [True, False], ids=["X_val", "held out"])
def test_it_stops_early_alike(target, own, best):
    cls, y = TARGETS[target]
    late = cls(
        n_neurons=20,
        epochs=400,
        learning_rate=0.02,
        random_state=0,
        early_stopping="auto" if own else True,
        restore_best_weights=best,
    )
    training, rest = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0
    data = X[training], y[training]
    more = {"X_val": X[rest], "y_val": y[rest]} if own else {}
    late.fit(*data, **more)
    early = made_first(late, *data, **more)
    assert not is_made(late)
    assert 11 <= late.n_iter_ < 400
    assert late.history_.keys() == {"loss", "val_loss"}
    assert late.history_ == early.history_
    assert late.best_epoch_ == early.best_epoch_ < late.n_iter_ - 1
    np.testing.assert_array_equal(outputs(late), outputs(early))
    assert_same(values(late.model_), values(early.model_))


def test_it_stops_early_by_itself_from_1000_rows_on():
    many = np.tile(X, (7, 1))
    late = MLPKerasRegressor(**BRIEF).fit(many, many[:, 0])
    early = made_first(late, many, many[:, 0])
    assert is_in_arrays(late)
    assert late.history_ == early.history_
    assert "val_loss" in late.history_
    assert_same(values(late.model_), values(early.model_))


@pytest.mark.parametrize("monitor", ["val_accuracy", "nonsense"])
def test_a_monitor_that_is_not_reported_is_an_error(monitor):
    model = MLPKerasRegressor(**BRIEF, early_stopping=True, monitor=monitor)
    with pytest.raises(ValueError, match=f"monitor='{monitor}' is not reported"):
        model.fit(X, X[:, 0])
    with pytest.raises(ValueError, match="monitor='val_loss' needs a validation set"):
        model.set_params(monitor="val_loss", validation_fraction=None).fit(X, X[:, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["he_uniform", "glorot_uniform"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (100, 7)])
def test_initial_kernels_are_keras_own(name, shape, dtype):
    for seed in (0, 1, 123456789, 2**31 - 3, 2**31 - 2, 2**31 - 1):
        initializer = type(keras.initializers.get(name))(seed=seed)
        drawn = initializer(shape, dtype=dtype).numpy()
        assert_same([_initial(name, shape, np.dtype(dtype), seed)], [drawn])


@pytest.mark.parametrize(
    "settings",
    [
        {"callbacks": [keras.callbacks.Callback()]},
        {"verbose": 2},
        {"engine": "keras"},
        {"epochs": 1000},  # 5000 steps, which are compiled.
        {
            "model": lambda n_neurons: keras.Sequential(
                [keras.layers.Dense(3, "softmax")]
            )
        },
        {"dropout": 0.5},
        {"normalization": "layer"},
        {"activation": "gelu"},
        {"activation": ["relu", "gelu"]},
        {"kernel_initializer": "he_normal"},
        {"loss_kwargs": {"from_logits": False}},
        {"metrics": ["accuracy"]},
        {"optimizer": "rmsprop"},
        {"optimizer_kwargs": {"beta_1": 0.9999}},
        {"optimizer_kwargs": {"clipnorm": 1.0}},
        {"optimizer": "sgd", "optimizer_kwargs": {"nesterov": True}},
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.01, 100)},
        {"learning_rate": "auto"},
        {"dtype": "mixed_bfloat16"},
    ],
    ids="-".join,
)
def test_all_else_has_its_model_from_the_start(settings):
    fitted = MLPKerasClassifier(**{**BRIEF, **settings}).fit(X, SPECIES)
    assert not is_in_arrays(fitted)
    assert fitted.predict(X).shape == (150,)


def test_so_have_fits_with_files_and_of_other_shapes(tmp_path):
    fitted = [
        MLPKerasClassifier(**BRIEF, checkpoint_path=tmp_path / "a.keras"),
        MLPKerasClassifier(**BRIEF, tensorboard_dir=tmp_path / "logs"),
    ]
    fitted = [estimator.fit(X, SPECIES) for estimator in fitted]
    fitted.append(MLPKerasClassifier(**BRIEF).fit(X.reshape(150, 2, 2), SPECIES))
    assert not any(map(is_in_arrays, fitted))
    assert (tmp_path / "a.keras").exists()


NO_TENSORFLOW = """
import numpy as np, random
from skann import MLPKerasRegressor
from tensorflow.python.eager import context
np.random.seed(0), random.seed(0)
X = np.random.default_rng(0).normal(size=(40, 3))
model = MLPKerasRegressor(epochs=5, random_state=0).fit(X, X[:, 0])
model.predict(X), model.score(X, X[:, 0])
assert not context.context()._initialized
model.model_
assert context.context()._initialized
"""


def test_tensorflow_is_not_started_for_it():
    code = [sys.executable, "-c", NO_TENSORFLOW]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def late():
    fitted = MLPKerasRegressor(**BRIEF).fit(X, X[:, 0])
    assert not is_made(fitted)
    return fitted


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        copy.copy,
        lambda fitted: pickle.loads(pickle.dumps(fitted)),
    ],
    ids=["deepcopy", "copy", "pickle"],
)
def test_copies_predict_and_go_on_alike(late, copied):
    expected = late.predict(X)
    other = copied(late)
    np.testing.assert_array_equal(other.predict(X), expected)
    for fitted in (late, other):
        fitted.set_params(warm_start=True).fit(X, X[:, 0])
    np.testing.assert_array_equal(other.predict(X), late.predict(X))


@pytest.mark.parametrize("way", ["warm_start", "partial_fit"])
def test_a_fit_goes_on_as_if_the_model_had_been_there(late, way):
    early = made_first(late, X, X[:, 0])
    for fitted in (late, early):
        if way == "warm_start":
            fitted.set_params(warm_start=True).fit(X, X[:, 0])
        else:
            fitted.partial_fit(X, X[:, 0])
    assert_same(values(late.model_), values(early.model_))
    assert late.history_ == early.history_
    assert late.n_iter_ == (6 if way == "warm_start" else 4)


def test_a_failed_fit_leaves_it_as_it_was(late):
    expected = late.predict(X)
    late.set_params(warm_start=True)

    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 4:
                raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        late.fit(X, X[:, 0], callbacks=[Fails()])
    np.testing.assert_array_equal(late.predict(X), expected)
    assert late.n_iter_ == 3
    late.set_params(warm_start=False, activation="nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        late.fit(X, X[:, 0])
    np.testing.assert_array_equal(late.predict(X), expected)


def test_the_weights_and_the_model_are_the_users_to_change(late):
    expected = late.predict(X)
    late.model_.set_weights([0 * w for w in late.model_.get_weights()])
    np.testing.assert_allclose(late.predict(X), X[:, 0].mean(), atol=1e-12)
    other = MLPKerasRegressor(**BRIEF).fit(X, X[:, 0])
    late.model_ = other.model_
    np.testing.assert_array_equal(late.predict(X), expected)


def test_making_the_model_moves_no_global_generator(late):
    def states():
        keras_seeds = keras.src.backend.common.global_state.get_global_attribute(
            "global_seed_generator"
        )
        return random.getstate(), repr(np.random.get_state()), keras_seeds  # noqa: NPY002

    before = states()
    again = MLPKerasRegressor(**BRIEF).fit(X, X[:, 0])
    assert late.model_.count_params() == again.model_.count_params()
    assert states() == before


def in_a_function(late):
    tf.function(lambda x: late.model_(x))(tf.constant(X))


def in_a_dataset(late):
    rows = tf.data.Dataset.from_tensor_slices(X).batch(10)
    assert len(list(rows.map(lambda x: late.model_(x)))) == 15


def in_a_lambda_layer(late):
    keras.layers.Lambda(lambda x: late.model_(x))(keras.Input((4,)))


def in_a_stateless_scope(late):
    with keras.StatelessScope():
        assert late.model_.built


def in_a_graph(late):
    with tf.Graph().as_default():
        assert late.model_.built


def in_the_loss_of_a_student(late):
    def loss(target, output):
        taught = late.model_(tf.constant(X[:1]))[0, 0]
        return keras.ops.mean((keras.ops.cast(taught, "float32") - output) ** 2)

    MLPKerasRegressor(**BRIEF, loss=loss, dtype="float32").fit(X, X[:, 0])


@pytest.mark.parametrize(
    "ask",
    [
        in_a_function,
        in_a_dataset,
        in_a_lambda_layer,
        in_a_stateless_scope,
        in_a_graph,
        in_the_loss_of_a_student,
    ],
)
def test_the_model_may_be_asked_for_anywhere(late, ask):
    early = made_first(late, X, X[:, 0])
    ask(late)
    assert_same(values(late.model_), values(early.model_))
    np.testing.assert_array_equal(late.predict(X), early.predict(X))
    assert late.model_(X).shape == (150, 1)


def test_a_build_function_may_ask_for_it_while_another_thread_does(late, monkeypatch):
    inside, making = threading.Event(), threading.Event()
    make = Recipe.make

    def watched(*arguments):
        making.set()
        return make(*arguments)

    monkeypatch.setattr(Recipe, "make", watched)

    def transfer(input_shape):
        inside.set()
        assert making.wait(60)
        late.model_.trainable = False
        return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)])

    other = MLPKerasRegressor(transfer, epochs=1)
    thread = threading.Thread(target=other.fit, args=(X, X[:, 0]), daemon=True)
    thread.start()
    assert inside.wait(60)
    assert late.model_ is late.model_
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("kind", ["mixed_float16", "float64"])
def test_other_default_types_change_nothing_afterwards(late, kind):
    early = made_first(late, X, X[:, 0])
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(kind)
        keras.config.set_floatx(kind.removeprefix("mixed_"))
        assert [v.dtype for v in late.model_.optimizer.variables] == [
            v.dtype for v in early.model_.optimizer.variables
        ]
        assert keras.config.dtype_policy().name == kind
        assert keras.config.floatx() == kind.removeprefix("mixed_")
        assert not is_in_arrays(MLPKerasRegressor(**BRIEF).fit(X, X[:, 0]))
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
    assert_same(values(late.model_), values(early.model_))


def test_parameters_that_change_after_the_fit_do_not_change_the_model():
    sizes, metrics, settings = [10, 5], [], {}
    parameters = {"hidden_layer_sizes": sizes, "optimizer_kwargs": settings}
    late = MLPKerasRegressor(**BRIEF, **parameters, metrics=metrics).fit(X, X[:, 0])
    assert is_in_arrays(late)
    early = made_first(late, X, X[:, 0])
    sizes.append(3)
    metrics.append("mae")
    settings["beta_1"] = 0.5
    assert late.model_.get_compile_config() == early.model_.get_compile_config()
    assert_same(values(late.model_), values(early.model_))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("checkpoint_path", "", "must end in"),
        ("metrics", "", "no metric of Keras"),
        ("learning_rate", 1e39, "learning rate|learning_rate"),
    ],
)
def test_what_is_refused_is_refused_here_too(name, value, said):
    with pytest.raises((ValueError, DivergenceError), match=said):
        MLPKerasRegressor(**BRIEF, **{name: value}).fit(X, X[:, 0])


def test_what_another_thread_saw_while_it_trained_does_not_stay(late, monkeypatch):
    expected = late.predict(X)
    seen = []
    epoch = DenseTrainer.epoch

    def watched(trainer, number):
        seen.append(late.predict(X))
        assert not hasattr(late, "model_")
        return epoch(trainer, number)

    with monkeypatch.context() as patch:
        patch.setattr(DenseTrainer, "epoch", watched)
        late.fit(X, X[:, 0])
    assert len(seen) == 3
    assert np.abs(seen[0] - expected).max() > 1e-6
    np.testing.assert_array_equal(late.predict(X), expected)
    assert late.model_.built


def test_a_large_network_has_its_model_from_as_few_steps_as_others():
    large = {"hidden_layer_sizes": (1000, 100), "batch_size": 150, "random_state": 0}
    assert is_in_arrays(MLPKerasRegressor(**large, epochs=1).fit(X, X[:, 0]))
    planned = MLPKerasRegressor(**large, epochs=2000, early_stopping=True, patience=0)
    assert not is_in_arrays(planned.fit(X, X[:, 0]))
    planned.set_params(hidden_layer_sizes=(10,)).fit(X, X[:, 0])
    assert is_in_arrays(planned)


def test_the_model_can_be_deleted(late):
    del late.model_
    assert not hasattr(late, "model_")
    with pytest.raises(NotFittedError):
        late.predict(X)


def test_threads_that_ask_at_once_are_given_the_same_model(late):
    found = []
    at_once = threading.Barrier(4)

    def ask():
        at_once.wait()
        found.append(late.model_)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(found) == 4
    assert all(model is found[0] for model in found)


def test_an_unfitted_estimator_has_no_model():
    estimator = MLPKerasRegressor()
    assert not hasattr(estimator, "model_")
    with pytest.raises(AttributeError, match="before it is fitted"):
        _ = estimator.model_
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_the_model_is_among_the_attributes_that_are_shown(late):
    assert "model_" in dict(inspect.getmembers(late))
    assert "model_" in late._repr_html_()


def test_one_that_diverges_at_once_is_an_error():
    huge = 1e200 * np.ones(20)
    with pytest.raises(DivergenceError, match="epoch 1"):
        MLPKerasRegressor(**BRIEF, normalize_y=False).fit(X[:20], huge)


def test_one_that_diverges_later_keeps_its_last_finite_weights():
    fragile = MLPKerasRegressor(
        **{**BRIEF, "epochs": 200}, learning_rate=1e18, activation="linear"
    )
    with pytest.warns(UserWarning, match="infinite or NaN"):
        fragile.fit(X[:20], X[:20, 0])
    assert is_in_arrays(fragile)
    assert 0 < fragile.n_iter_ < 200
    assert all(np.isfinite(w).all() for w in fragile.model_.get_weights())
    assert np.isfinite(fragile.predict(X)).all()


# What ``in_arrays.py`` looks at. A parameter that is neither here nor in NEED_KERAS
# would be left out by small fits, in silence.
LOOKED_AT = {
    *("n_hidden", "n_neurons", "hidden_layer_sizes", "activation", "output_activation"),
    *("kernel_initializer", "l1", "l2", "dtype"),
    *("loss", "optimizer", "optimizer_kwargs", "learning_rate"),
}


def test_no_parameter_of_the_network_is_left_out():
    looked_at = {*LOOKED_AT, *NEED_KERAS}
    assert {*NETWORK_PARAMETERS, *COMPILE_PARAMETERS, "model_kwargs"} == looked_at
