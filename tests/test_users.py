"""What users of other wrappers suffer from, and what skann promises them instead.

Each promise cites the public threads it answers: sc is adriangb/scikeras, k
keras-team/keras, sk scikit-learn/scikit-learn, so skorch-dev/skorch, tf
tensorflow/tensorflow. More on some of them is elsewhere: on scikit-learn's tools in
test_compatibility, on pickles in test_persistence, on errors in test_bad_input, on fits
that fail in test_failures.
"""

import json
import os
import pickle
import random
import subprocess
import sys
import threading
import tracemalloc

import keras
import numpy as np
import pytest
import sklearn
import tensorflow as tf
import user_models
from scipy import sparse, stats
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
    StratifiedKFold,
    check_cv,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted
from thinned import thinned

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann._data.validation import hold_out
from skann._runtime.chatter import passed_on
from skann.exceptions import DivergenceError, ModelError

SMALL = {
    "n_hidden": 1,
    "n_neurons": 8,
    "learning_rate": 0.02,
    "epochs": 5,
    "random_state": 0,
}


def regressor(**params):
    return MLPKerasRegressor(**{**SMALL, **params})


def classifier(**params):
    return MLPKerasClassifier(**{**SMALL, **params})


def built(build_fn, **params):
    """Return a regressor with the user's network, and nothing set but its training."""
    return MLPKerasRegressor(build_fn, **{"epochs": 5, "random_state": 0, **params})


@pytest.fixture(scope="module")
def houses(california):
    """Scaled rows and prices of 200 places."""
    X, y = california
    return StandardScaler().fit_transform(X)[:200], y[:200]


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def assert_same_network(a, b):
    assert a.history_ == b.history_
    for mine, yours in zip(a.model_.get_weights(), b.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)


# 1: tags are missing: not a classifier any more, folds unstratified, no roc_auc.
# sc#332 sc#337 so#1079


def test_a_classifier_is_a_classifier_and_a_regressor_a_regressor(iris):
    assert is_classifier(classifier())
    assert not is_regressor(classifier())
    assert is_regressor(regressor())
    assert not is_classifier(regressor())
    folds = check_cv(3, iris[1], classifier=is_classifier(classifier()))
    assert isinstance(folds, StratifiedKFold)
    two = iris[1] < 2
    auc = cross_val_score(classifier(), iris[0][two], iris[1][two], scoring="roc_auc")
    assert np.all(auc > 0.95)


# 2: a search rejects a parameter of the build function unless the constructor has it.
# sc#318 sc#264 sc#270 sc#322


@pytest.mark.parametrize(
    ("build_fn", "grid", "fixed"),
    [
        ("build_squashed", {"model__width": [2, 4], "model__squash": ["elu"]}, {}),
        ("build_tutorial", {"n_hidden": [0, 2], "learning_rate": [0.01]}, {}),
        ("build_squashed", {"optimizer__momentum": [0.0, 0.9]}, {"optimizer": "sgd"}),
        ("build_squashed", {"loss__delta": [0.1, 1.0]}, {"loss": "huber"}),
    ],
)
def test_a_build_functions_parameters_can_be_searched(build_fn, grid, fixed, houses):
    model = built(getattr(user_models, build_fn), epochs=2, **fixed)
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(*houses)
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    params = search.best_estimator_.get_params()
    assert search.best_params_.items() <= params.items()


def test_a_build_functions_parameters_are_listed_with_their_defaults():
    params = built(user_models.build_squashed).get_params()
    assert params["model__width"] == 4
    assert params["model__squash"] == "tanh"
    with pytest.raises(ValueError, match="model__depth"):
        built(user_models.build_squashed).set_params(model__depth=1)


# 3: the user's validation set is not transformed by the Pipeline.
# sc#131 sc#289 sk#18748


def by_hand(train, validation, **params):
    """Return what a Pipeline should end in, and the scaled validation set."""
    scaler = StandardScaler().fit(train[0])
    X_val = scaler.transform(validation[0])
    model = regressor(**params).fit(
        scaler.transform(train[0]), train[1], X_val=X_val, y_val=validation[1]
    )
    assert len(model.history_["val_loss"]) == model.n_iter_
    return model, X_val


@pytest.fixture(scope="module")
def train_and_validation(california):
    X, y = california
    return (X[:150], y[:150]), (X[150:200], y[150:200])


def test_a_pipeline_scales_the_validation_set(train_and_validation):
    train, (X_val, y_val) = train_and_validation
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            StandardScaler(),
            regressor().set_fit_request(X_val=True, y_val=True),
            transform_input=["X_val"],
        ).fit(*train, X_val=X_val, y_val=y_val)
    assert_same_network(pipeline[-1], by_hand(*train_and_validation)[0])


def test_a_search_of_a_pipeline_scales_the_validation_set(train_and_validation):
    train, (X_val, y_val) = train_and_validation
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(
            StandardScaler(),
            regressor().set_fit_request(X_val=True, y_val=True),
            transform_input=["X_val"],
        )
        search = RandomizedSearchCV(
            pipeline,
            {"mlpkerasregressor__learning_rate": stats.loguniform(1e-3, 1e-1)},
            n_iter=2,
            cv=2,
            random_state=0,
            error_score="raise",
        ).fit(*train, X_val=X_val, y_val=y_val)
    rate = search.best_params_["mlpkerasregressor__learning_rate"]
    expected, _ = by_hand(*train_and_validation, learning_rate=rate)
    assert_same_network(search.best_estimator_[-1], expected)


def test_a_pipeline_without_metadata_routing_takes_a_scaled_one(train_and_validation):
    train, (_, y_val) = train_and_validation
    expected, X_val = by_hand(*train_and_validation)
    pipeline = make_pipeline(StandardScaler(), regressor()).fit(
        *train, mlpkerasregressor__X_val=X_val, mlpkerasregressor__y_val=y_val
    )
    assert_same_network(pipeline[-1], expected)


@pytest.mark.parametrize("spelling", ["X_val, y_val", "validation_data"])
@pytest.mark.parametrize("routing", [True, False])
def test_a_search_takes_a_validation_set(routing, spelling, houses):
    X, y, X_val, y_val = houses[0][:150], houses[1][:150], *(a[150:] for a in houses)
    given = {"X_val": X_val, "y_val": y_val}
    if spelling == "validation_data":
        given = {"validation_data": (X_val, y_val)}
    with sklearn.config_context(enable_metadata_routing=routing):
        model = regressor()
        if routing:
            model.set_fit_request(**dict.fromkeys(given, True))
        search = RandomizedSearchCV(
            model, {"learning_rate": [0.01, 0.02]}, n_iter=2, cv=2, error_score="raise"
        ).fit(X, y, **given)
    expected = clone(regressor(**search.best_params_)).fit(X, y, **given)
    assert "val_loss" in expected.history_
    assert_same_network(search.best_estimator_, expected)


# 4: clone fails or drops parameters, so that a search trains one epoch.
# k#13586 sk#15722

ALL_CHANGED = {
    "model": user_models.build_tutorial,
    "n_hidden": 3,
    "n_neurons": 7,
    "hidden_layer_sizes": (4, 4),
    "activation": ["tanh", "relu"],
    "output_activation": "softplus",
    "kernel_initializer": "zeros",
    "dropout": 0.3,
    "normalization": "batch",
    "l1": 0.1,
    "l2": 0.2,
    "dtype": "float64",
    "model_kwargs": {"width": 3},
    "loss": "huber",
    "loss_kwargs": {"delta": 2.0},
    "metrics": ["mae"],
    "compile_kwargs": {"run_eagerly": True},
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "optimizer_kwargs": {"momentum": 0.9},
    "epochs": 7,
    "batch_size": 9,
    "shuffle": False,
    "validation_fraction": 0.3,
    "validation": "last",
    "early_stopping": True,
    "patience": 3,
    "min_delta": 0.1,
    "monitor": "loss",
    "monitor_mode": "min",
    "restore_best_weights": False,
    "checkpoint_path": "best.keras",
    "checkpoint_save_best_only": False,
    "tensorboard_dir": "logs",
    "callbacks": [],
    "learning_rate_schedule": "cosine",
    "normalize_X": True,
    "engine": "keras",
    "warm_start": True,
    "random_state": 5,
    "verbose": 2,
}


@pytest.mark.parametrize(
    ("estimator", "own"),
    [
        (MLPKerasRegressor, {"normalize_y": False}),
        (MLPKerasClassifier, {"class_weight": {"a": 2}}),
    ],
)
def test_clone_keeps_every_parameter(estimator, own):
    given = {**ALL_CHANGED, **own}
    default = estimator().get_params(deep=False)
    assert default.keys() == given.keys()
    assert all(given[name] != default[name] for name in given)
    copy = clone(clone(estimator(**given)))
    assert copy.get_params(deep=False) == given


def test_a_search_trains_all_its_epochs(houses):
    search = GridSearchCV(regressor(epochs=7), {"learning_rate": [0.01]}, cv=2)
    assert search.fit(*houses).best_estimator_.n_iter_ == 7


# 5: callbacks break clone and pickle, or carry state from fit to fit.
# sc#236 sc#275 so#818 k#4278


@pytest.mark.parametrize("where", ["constructor", "fit"])
def test_each_fit_runs_on_copies_of_the_callbacks(where, houses):
    counter = user_models.Counter()
    stopping = keras.callbacks.EarlyStopping("loss", min_delta=10, patience=1)
    given = {"callbacks": [counter, stopping]}
    model = regressor(**(given if where == "constructor" else {}))
    for _ in range(2):
        model.fit(*houses, **(given if where == "fit" else {}))
        assert model.model_.epochs_counted == model.n_iter_ == 2
    assert counter.epochs_counted == stopping.stopped_epoch == 0
    assert counter.model is stopping.model is None
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(houses[0]), model.predict(houses[0]))
    assert clone(again).fit(*houses, **given).n_iter_ == 2


# 6: checkpoint and TensorBoard paths collide across folds (so#848 so#819 k#7501).
# 7: n_jobs=-1 hangs, or raises PicklingError (k#6600 k#6862 tf#49240).
# 20: several workers fill one GPU (sc#258 k#7553).


def test_each_fit_of_a_search_has_directories_of_its_own(houses, tmp_path):
    model = regressor(
        epochs=2,
        validation_fraction=0.2,
        checkpoint_path=tmp_path / "best" / "model.keras",
        tensorboard_dir=tmp_path / "logs",
    )
    search = GridSearchCV(
        model, {"learning_rate": [1e-3, 0.02]}, cv=2, error_score="raise"
    ).fit(*houses)
    checkpoints = list((tmp_path / "best").glob("*/model.keras"))
    runs = list((tmp_path / "logs").iterdir())
    # Two candidates on two folds, and the best one on all rows.
    assert len(checkpoints) == len(runs) == 5
    best = search.best_estimator_
    assert best.checkpoint_path_ in map(str, checkpoints)
    assert best.tensorboard_dir_ in map(str, runs)
    weights = [keras.saving.load_model(c).get_weights()[0] for c in checkpoints]
    assert len({w.tobytes() for w in weights}) == 5


SCRIPT = """
import json
import sys

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing

import keras
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler


def build_model(n_neurons=4, input_shape=[8]):
    model = keras.Sequential([keras.Input(input_shape), keras.layers.Dense(n_neurons)])
    model.add(keras.layers.Dense(1))
    model.compile(loss="mse", optimizer="adam")
    return model


X, y = load_california_housing(return_X_y=True)
X, y = StandardScaler().fit_transform(X[::100]), y[::100]
shallow = lambda input_shape: keras.Sequential(
    [keras.Input(input_shape), keras.layers.Dense(1)]
)
scores = {}
for name, build in [("of __main__", build_model), ("lambda", shallow)]:
    model = MLPKerasRegressor(
        build, epochs=3, random_state=0, checkpoint_path=f"{sys.argv[1]}/model.keras"
    )
    for n_jobs in (1, 2):
        search = GridSearchCV(
            model, {"batch_size": [16, 64]}, cv=2, n_jobs=n_jobs, error_score="raise"
        ).fit(X, y)
        found = [search.cv_results_[f"split{i}_test_score"].tolist() for i in (0, 1)]
        scores.setdefault(name, []).append(found)
print(json.dumps(scores))
"""


def test_a_script_searches_in_processes(tmp_path):
    path = tmp_path / "search.py"
    path.write_text(SCRIPT)
    # A fresh terminal: nothing of this process's settings for tensorflow.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    done = subprocess.run(
        [sys.executable, path, tmp_path / "best"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # The script imports Keras by itself, before skann can keep tensorflow quiet.
    assert not b"".join(passed_on([done.stderr.encode()]))
    scores = json.loads(done.stdout)
    for alone, in_processes in scores.values():
        assert alone == in_processes
    # Two functions, searched twice, by two candidates on two folds and the best one.
    assert len(list((tmp_path / "best").glob("*/model.keras"))) == 2 * 2 * (2 * 2 + 1)


# 8: pickles fail, or fail elsewhere: test_persistence.
# k#13168 sc#249 k#20887

# 9 and 10, memory over hundreds of fits and the time of small ones: tests/benchmarks.

# 11: early stopping inside of a cross-validation is misunderstood.
# so#837 so#599 so#746 k#3400


def test_early_stopping_never_sees_the_test_fold(houses):
    X, y = houses
    cv = ShuffleSplit(1, test_size=0.3, random_state=0)
    model = regressor(epochs=30, early_stopping=True, patience=2, learning_rate=0.1)
    networks = []
    for noise in (0, 1000):
        y = y.copy()
        y[next(cv.split(X))[1]] += noise
        result = cross_validate(model, X, y, cv=cv, return_estimator=True)
        networks += result["estimator"]
    assert networks[0].n_iter_ < 30
    assert_same_network(*networks)


def test_early_stopping_without_a_validation_set_says_so(houses):
    model = regressor(early_stopping=True, validation_fraction=None)
    with pytest.raises(ValueError, match=r"'val_loss' needs a validation set"):
        model.fit(*houses)


# 12: the validation split takes the tail, unstratified.
# k#2128 k#796 sk#13164


def test_the_validation_set_is_shuffled_stratified_and_seeded(iris):
    _, y = iris  # Sorted by class.
    train, validation = hold_out(len(y), 0.2, y, seed=0)
    assert list(np.bincount(y[validation])) == [10, 10, 10]
    assert sorted([*train, *validation]) == list(range(len(y)))
    np.testing.assert_array_equal(hold_out(len(y), 0.2, y, seed=0)[1], validation)
    assert set(hold_out(len(y), 0.2, y, seed=1)[1]) != set(validation)


def test_a_class_too_rare_to_stratify_stays_in_training(iris):
    X, y = iris
    model = classifier(early_stopping=True).fit(X[:101], y[:101])
    assert "val_loss" in model.history_
    assert list(model.classes_) == [0, 1, 2]


# 13: the best weights or the best epoch are lost.
# k#12511 k#16876 k#20521


@pytest.mark.parametrize("restore", [True, False])
def test_the_best_weights_are_restored(restore, houses):
    X, y, X_val, y_val = houses[0][:100], houses[1][:100], *(a[100:] for a in houses)
    model = regressor(
        epochs=30, learning_rate=0.1, normalize_y=False, restore_best_weights=restore
    ).fit(X, y, X_val=X_val, y_val=y_val)
    val_loss = model.history_["val_loss"]
    assert model.best_epoch_ == np.argmin(val_loss) < len(val_loss) - 1
    expected = min(val_loss) if restore else val_loss[-1]
    assert mean_squared_error(y_val, model.predict(X_val)) == pytest.approx(expected)


# 14: runs do not repeat.
# k#850 k#2743 sc#25


def global_draws():
    """Return a number from each global generator."""
    return [
        random.random(),
        np.random.rand(),  # noqa: NPY002
        float(tf.random.uniform(())),
        float(keras.random.uniform(())),
    ]


DRAWING = [
    (None, {"dropout": 0.2}),
    (None, {"kernel_initializer": "he_normal"}),
    (user_models.build_with_global_draws, {}),
    (user_models.build_lazily, {}),
    (user_models.build_functional(input_shape=(8,)), {}),
]


@pytest.mark.parametrize(
    ("build_fn", "params", "random_state"),
    thinned([(*drawing, seed) for drawing in DRAWING for seed in (0, None)], 3),
)
def test_global_generators_are_left_alone(build_fn, params, random_state, houses):
    model = built(build_fn, random_state=random_state, early_stopping=True, **params)
    keras.utils.set_random_seed(3)
    expected = global_draws(), global_draws()
    keras.utils.set_random_seed(3)
    first = global_draws()
    model = pickle.loads(pickle.dumps(clone(model).fit(*houses)))
    model.partial_fit(*houses).predict(houses[0])
    assert (first, global_draws()) == expected


def test_global_generators_are_left_alone_by_a_build_function_that_fails(houses):
    keras.utils.set_random_seed(3)
    expected = global_draws()
    keras.utils.set_random_seed(3)
    with pytest.raises(ZeroDivisionError):
        built(user_models.build_that_raises).fit(*houses)
    assert global_draws() == expected


@pytest.mark.parametrize(
    "build_fn",
    [None, user_models.build_with_global_draws, user_models.build_lazily],
)
def test_random_state_decides_everything(build_fn, houses):
    fits = []
    for global_seed, random_state in [(1, 0), (2, 0), (2, 1)]:
        keras.utils.set_random_seed(global_seed)
        model = built(build_fn, random_state=random_state, early_stopping=True)
        fits.append(model.fit(*houses))
    assert_same_network(*fits[:2])
    assert fits[1].loss_curve_ != fits[2].loss_curve_


def build_with_its_own_seed(input_shape):
    keras.utils.set_random_seed(7)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1)])


def test_a_build_function_may_set_its_own_seed(houses):
    X, _ = houses
    expected = build_with_its_own_seed(X.shape[1:]).get_weights()
    for random_state in (0, 1):
        model = built(build_with_its_own_seed, random_state=random_state)
        model.set_params(learning_rate=1e-30, early_stopping=False).fit(*houses)
        for weight, own in zip(model.model_.get_weights(), expected, strict=True):
            np.testing.assert_allclose(weight, own, atol=1e-20)


@pytest.fixture
def another_thread_draws():
    """Python's global generator in use, as in a worker of Dask."""
    done = threading.Event()

    def draw():
        while not done.is_set():
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    yield
    done.set()
    thread.join()


def test_random_state_decides_whatever_other_threads_draw(houses, request):
    alone = built(user_models.build_lazily).fit(*houses)
    request.getfixturevalue("another_thread_draws")
    for _ in range(3):
        assert_same_network(built(user_models.build_lazily).fit(*houses), alone)


# 15: predict_proba is missing, has a wrong shape, or rows that do not sum to 1.
# k#21547 k#2864


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("build_fn", [None, user_models.build_softmax])
def test_probabilities_have_a_column_for_each_class(build_fn, n_classes, iris):
    X, y = (a[iris[1] < n_classes] for a in iris)
    model = MLPKerasClassifier(build_fn, epochs=20, random_state=0).fit(X, y)
    proba = model.predict_proba(X)
    assert proba.shape == (len(X), n_classes)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_array_equal(
        model.classes_[proba.argmax(axis=1)], model.predict(X)
    )


# 16: class weights and sample weights.
# k#8448 sc#245 sk#9113


@pytest.mark.parametrize("class_weight", [{"benign": 3, "malignant": 0.5}, "balanced"])
def test_class_weights_are_of_the_users_labels_times_sample_weight(class_weight):
    data = load_breast_cancer()
    X = StandardScaler().fit_transform(data.data)[:200, :8]
    y = data.target_names[data.target[:200]]
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    by_class = classifier(class_weight=class_weight).fit(X, y, weight)
    of_row = compute_sample_weight(class_weight, y)
    if class_weight == "balanced":
        of_row = (1 / np.bincount(data.target[:200], weight))[data.target[:200]]
    product = weight * of_row
    expected = classifier().fit(X, y, product).predict_proba(X)
    np.testing.assert_allclose(by_class.predict_proba(X), expected, rtol=1e-12)
    without = classifier().fit(X, y, weight).predict_proba(X)
    assert np.abs(without - expected).max() > 0.01


# 17: the score is a loss, and the search picks the worst.
# k#5577


@pytest.mark.parametrize(
    ("model", "data", "score"),
    [(regressor(), "houses", r2_score), (classifier(), "iris", accuracy_score)],
)
def test_a_search_picks_the_best_by_r2_or_accuracy(model, data, score, request):
    X, y = request.getfixturevalue(data)
    search = GridSearchCV(model, {"learning_rate": [1e-6, 0.02]}, cv=2).fit(X, y)
    assert search.best_params_ == {"learning_rate": 0.02}
    assert search.score(X, y) == score(y, search.predict(X))


# 18: y of shape (n, 1) broadcasts to (n, n), or is squeezed wrongly.
# k#11657 so#701 so#728


@pytest.mark.parametrize("build_fn", [None, user_models.build_squashed])
def test_a_column_is_fitted_as_a_vector_and_stays_a_column(build_fn, houses):
    X, y = houses
    vector, column = built(build_fn).fit(X, y), built(build_fn).fit(X, y[:, None])
    assert_same_network(vector, column)
    assert vector.predict(X).shape == (200,)
    np.testing.assert_array_equal(column.predict(X), vector.predict(X)[:, None])


def test_several_outputs_need_a_network_of_their_width(houses):
    X, y = houses[0], np.column_stack([houses[1], -houses[1]])
    assert regressor().fit(X, y).predict(X).shape == (200, 2)
    with pytest.raises(ModelError, match=r"outputs of shape \(1,\).* needs \(2,\)"):
        built(user_models.build_squashed).fit(X, y)


# 19: a class is absent from a fold.
# k#11850


def test_a_class_may_be_absent_from_a_fold(iris):
    # Unshuffled folds of sorted classes: each is tested on a class it has not seen.
    scores = cross_val_score(classifier(), *iris, cv=KFold(3), error_score="raise")
    assert list(scores) == [0, 0, 0]


def test_partial_fit_is_told_the_classes_to_come(iris):
    X, y = iris
    model = classifier(learning_rate=0.1).partial_fit(
        X[:100], y[:100], classes=range(3)
    )
    assert model.predict_proba(X).shape == (150, 3)
    for _ in range(20):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.9
    with pytest.raises(ValueError, match=r"labels \[7\]"):
        model.partial_fit(X, np.full(len(X), 7))


# 21: sparse X is densified at once.
# sc#239 k#2069


@pytest.mark.parametrize("layout", [sparse.csr_array, sparse.csc_matrix])
def test_sparse_rows_are_made_dense_a_chunk_at_a_time(layout):
    rng = np.random.default_rng(0)
    X = sparse.random_array((2000, 4000), density=1e-3, rng=rng)
    y = X.sum(axis=1)
    X, dense_bytes = layout(X), 8 * 2000 * 4000
    model = regressor(epochs=1, n_neurons=4)
    tracemalloc.start()
    try:
        assert model.fit(X, y).predict(X).shape == (2000,)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < dense_bytes / 2


# 22: multilabel targets, several outputs.
# sc#173


def test_multilabel_targets(iris):
    X, species = iris
    y = np.column_stack([species == 1, X[:, 0] > 0, X[:, 2] > 0]).astype(int)
    model = classifier(epochs=40).fit(X, y)
    proba = model.predict_proba(X)
    assert proba.shape == y.shape
    assert proba.sum(axis=1).max() > 1.5
    np.testing.assert_array_equal(model.predict(X), proba > 0.5)
    assert np.all((model.predict(X) == y).mean(axis=0) > 0.9)


def test_multiclass_multioutput_is_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        classifier().fit(X, np.column_stack([y, y]))


# 23: scikit-learn's MLP has no MAE, no dropout, no activation for each layer, and no
# word on a fit that diverges. sk#14571 sk#6175 sk#10097 sk#29504


def test_mae_dropout_and_an_activation_for_each_layer(houses):
    model = MLPKerasRegressor(
        hidden_layer_sizes=(8, 4),
        activation=["tanh", "relu"],
        dropout=0.1,
        loss="mae",
        learning_rate=0.02,
        epochs=20,
        random_state=0,
    ).fit(*houses)
    assert [layer.name.split("_")[0] for layer in model.model_.layers] == (
        ["dense", "dropout"] * 2 + ["dense", "unit"]
    )
    assert model.score(*houses) > 0.5


def test_a_diverging_fit_says_what_to_do(houses):
    model = regressor(optimizer="sgd", learning_rate=1e6)
    with pytest.raises(DivergenceError, match="smaller learning_rate"):
        model.fit(*houses)


# 24: partial_fit and warm_start do not go on where they were.
# sc#95 sc#51 sk#6091


def test_warm_start_goes_on_where_it_was(houses):
    # Dropout and Adam have state of their own.
    whole = regressor(dropout=0.2, epochs=6).fit(*houses)
    parts = regressor(dropout=0.2, epochs=6, warm_start=True).fit(*houses, epochs=2)
    parts = pickle.loads(pickle.dumps(parts)).fit(*houses, epochs=4)
    assert parts.n_iter_ == 6
    assert_same_network(parts, whole)


def test_partial_fit_is_an_epoch(houses):
    whole = regressor(dropout=0.2, epochs=6).fit(*houses)
    parts = regressor(dropout=0.2, epochs=6)
    for i in range(6):
        parts = pickle.loads(pickle.dumps(parts.partial_fit(*houses)))
        assert parts.n_iter_ == i + 1
    assert_same_network(parts, whole)


# 25: unfitted reads as fitted; predict prints bars.
# so#1118 k#7630


@pytest.mark.parametrize("make", [regressor, classifier])
def test_unfitted_is_unfitted_and_a_failed_fit_leaves_it_so(make, iris):
    model = make()
    for _ in range(2):
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
        with pytest.raises(NotFittedError):
            model.predict(iris[0])
        with pytest.raises(ValueError, match="NaN"):
            model.fit(np.full((4, 2), np.nan), [0, 1, 0, 1])
    check_is_fitted(model.fit(*iris))


@pytest.mark.parametrize("build_fn", [None, user_models.build_functional])
def test_fit_and_predict_print_nothing(build_fn, houses, capfd):
    model = built(build_fn, engine="keras").fit(*houses)
    model.set_params(engine="auto").fit(*houses).partial_fit(*houses)
    model.predict(houses[0])
    model.score(*houses)
    assert capfd.readouterr() == ("", "")
