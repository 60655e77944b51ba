"""Fitted estimators saved, copied and loaded: what they predict and how they go on."""

import copy
import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import joblib
import keras
import numpy as np
import pytest
import user_models
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor


def regressor(model=None, **params):
    return MLPKerasRegressor(model, **{"epochs": 3, "random_state": 0, **params})


def classifier(model=None, **params):
    return MLPKerasClassifier(model, **{"epochs": 3, "random_state": 0, **params})


def ready_model():
    """Return a compiled model with parts of the user's own."""
    model = user_models.build_with_custom_layer((8,))
    model.compile(loss=user_models.quartic, optimizer="adam")
    return model


SMALL = {"n_hidden": 1, "n_neurons": 8}
SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)

KINDS = {
    "dropout": lambda: regressor(**SMALL, dropout=0.2),
    "batch normalisation": lambda: regressor(**SMALL, normalization="batch"),
    "several outputs": lambda: regressor(**SMALL, l2=1e-3),
    "early stopping": lambda: regressor(**SMALL, early_stopping=True),
    "schedule and momentum": lambda: regressor(
        **SMALL, optimizer=keras.optimizers.SGD(SCHEDULE, momentum=0.9)
    ),
    "averaged weights": lambda: regressor(
        **SMALL, optimizer_kwargs={"use_ema": True, "ema_overwrite_frequency": 5}
    ),
    "float32": lambda: regressor(**SMALL, dtype="float32", batch_size=7),
    "keras.Model.fit": lambda: regressor(**SMALL, dropout=0.2, engine="keras"),
    "classifier": lambda: classifier(**SMALL, dropout=0.2),
    "multilabel classifier": lambda: classifier(**SMALL, metrics=["accuracy"]),
    "function of a tutorial": lambda: regressor(user_models.build_tutorial),
    "functional model": lambda: regressor(user_models.build_functional),
    "subclassed model": lambda: regressor(user_models.build_subclassed),
    "custom layer": lambda: regressor(user_models.build_with_custom_layer),
    "layer of layers": lambda: regressor(user_models.build_residual),
    "custom train step": lambda: regressor(user_models.build_noisy),
    "global draws": lambda: regressor(user_models.build_with_global_draws),
    "custom loss": lambda: regressor(**SMALL, loss=user_models.quartic),
    "custom loss class": lambda: regressor(**SMALL, loss=user_models.Quantile(0.2)),
    "custom optimizer": lambda: regressor(
        **SMALL, optimizer=user_models.HalfSteps(0.25, momentum=0.5)
    ),
    "custom metric": lambda: regressor(**SMALL, metrics=[user_models.LargestError(2)]),
    "custom activation": lambda: regressor(**SMALL, activation=user_models.bent),
    "Lambda layer": lambda: regressor(user_models.build_with_lambda_layer),
    "ready model": lambda: regressor(user_models.build_tutorial()),
    "ready model, custom parts": lambda: regressor(ready_model()),
}
# What pickle cannot take and cloudpickle can.
LAMBDAS = {
    "lambda": lambda: regressor(
        lambda input_shape: keras.Sequential(
            [keras.Input(input_shape), keras.layers.Dense(1)]
        )
    ),
    "lambda for a loss": lambda: regressor(
        **SMALL, loss=lambda y, p: keras.ops.mean((y - p) ** 2, axis=-1)
    ),
    "lambda for an activation": lambda: regressor(
        **SMALL, activation=lambda z: keras.ops.maximum(z, 0.1 * z)
    ),
}


def rows_for(kind, california):
    X, y = (a[:120] for a in california)
    if kind == "classifier":
        data = load_iris()
        X, y = data.data, data.target_names[data.target]
    elif kind == "multilabel classifier":
        y = np.column_stack([y > 1, y > 2]).astype(int)
    elif kind == "several outputs":
        y = np.column_stack([y, -y])
    return X, y


def outputs(pipeline, X):
    """Return every prediction there is."""
    names = [n for n in ("predict", "predict_proba") if hasattr(pipeline, n)]
    return [getattr(pipeline, name)(X) for name in names]


def go_on(pipeline, X, y):
    """Train for two epochs more."""
    rows = pipeline[:-1].transform(X)
    pipeline[-1].partial_fit(rows, y).partial_fit(rows, y)
    return pipeline


class Story:
    """A fitted pipeline: saved, then trained further."""

    def __init__(self, kind, X, y):
        dumps = cloudpickle.dumps if kind in LAMBDAS else pickle.dumps
        pipeline = make_pipeline(StandardScaler(), (KINDS | LAMBDAS)[kind]())
        pipeline.fit(X, y)
        self.X, self.y = X, y
        self.before = outputs(pipeline, X)
        self.saved = dumps(pipeline)
        self.after = outputs(go_on(pipeline, X, y), X)
        self.history = pipeline[-1].history_


@pytest.fixture(scope="module")
def story(california):
    """Return the story of a kind, told once."""
    told = {}

    def tell(kind):
        if kind not in told:
            told[kind] = Story(kind, *rows_for(kind, california))
        return told[kind]

    return tell


def assert_equal(found, expected, kind=""):
    for mine, yours in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mine, yours, kind)


@pytest.mark.parametrize("kind", [*KINDS, *LAMBDAS])
def test_what_was_loaded_goes_on_exactly_as_it_would_have(kind, story):
    told = story(kind)
    pipeline = pickle.loads(told.saved)
    assert_equal(outputs(pipeline, told.X), told.before)
    assert_equal(outputs(go_on(pipeline, told.X, told.y), told.X), told.after)
    assert pipeline[-1].history_ == told.history
    assert pipeline[-1].n_iter_ == len(told.history["loss"])


# Each costs the fresh process a trace; so only those whose state is of another kind.
TAKEN_ELSEWHERE = [
    "dropout",
    "batch normalisation",
    "schedule and momentum",
    "classifier",
    "function of a tutorial",
    "subclassed model",
    "layer of layers",
    "custom loss class",
    "ready model, custom parts",
    "lambda",
]

ELSEWHERE = """
import pickle, sys

{functions}

with open(sys.argv[1], "rb") as file:
    stories = pickle.load(file)
found = {{}}
for kind, (saved, X, y) in stories.items():
    pipeline = pickle.loads(saved)
    found[kind] = outputs(pipeline, X), outputs(go_on(pipeline, X, y), X)
with open(sys.argv[2], "wb") as file:
    pickle.dump(found, file)
"""


def test_a_fresh_process_predicts_and_goes_on_bit_identically(story, tmp_path):
    stories = {kind: story(kind) for kind in TAKEN_ELSEWHERE}
    saved, found = tmp_path / "saved", tmp_path / "found"
    saved.write_bytes(
        pickle.dumps({kind: (s.saved, s.X, s.y) for kind, s in stories.items()})
    )
    functions = "\n".join(map(inspect.getsource, (outputs, go_on)))
    paths = [str(Path(user_models.__file__).parent), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE.format(functions=functions), saved, found],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        check=True,
    )
    for kind, (before, after) in pickle.loads(found.read_bytes()).items():
        assert_equal(before, stories[kind].before, kind)
        assert_equal(after, stories[kind].after, kind)


def through_joblib(pipeline, tmp_path):
    joblib.dump(pipeline, tmp_path / "model.joblib", compress=3)
    return joblib.load(tmp_path / "model.joblib")


WAYS = {
    "pickle": lambda pipeline, _: pickle.loads(pickle.dumps(pipeline)),
    "oldest pickle": lambda pipeline, _: pickle.loads(pickle.dumps(pipeline, 2)),
    "cloudpickle": lambda pipeline, _: pickle.loads(cloudpickle.dumps(pipeline)),
    "deepcopy": lambda pipeline, _: copy.deepcopy(pipeline),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["dropout", "custom layer"])
def test_every_way_to_copy(way, kind, story, tmp_path):
    told = story(kind)
    original = pickle.loads(told.saved)
    again = WAYS[way](original, tmp_path)
    # Neither of the two is trained with the other.
    assert_equal(outputs(go_on(again, told.X, told.y), told.X), told.after)
    assert_equal(outputs(original, told.X), told.before)


@pytest.mark.parametrize(
    "kind",
    [
        "dropout",
        "subclassed model",
        "custom loss class",
        "custom optimizer",
        "custom metric",
        "ready model",
        "ready model, custom parts",
    ],
)
def test_a_clone_is_unfitted_and_fits_the_same(kind, story):
    told = story(kind)
    unfitted = pickle.loads(pickle.dumps(clone(pickle.loads(told.saved))))
    assert not hasattr(unfitted[-1], "model_")
    assert_equal(outputs(unfitted.fit(told.X, told.y), told.X), told.before)


def test_memory_mapped_rows_are_predicted_alike(story, tmp_path):
    told = story("dropout")
    joblib.dump(told.X, tmp_path / "X.joblib")
    X = joblib.load(tmp_path / "X.joblib", mmap_mode="r")
    assert_equal(outputs(pickle.loads(told.saved), X), told.before)


def test_a_pickle_is_small_and_holds_no_live_callback(story):
    told = story("dropout")
    pipeline = pickle.loads(told.saved)
    pipeline[-1].callbacks = [user_models.Counter()]
    pipeline.fit(told.X, told.y)
    n_numbers = pipeline[-1].model_.count_params() * 3  # Adam keeps two for each.
    assert len(pickle.dumps(pipeline)) < 8 * n_numbers + 30_000


TWICE = 2.0
# They use names that are no part of their code.
PARAMS_WITH_LAMBDAS = {
    "metric": lambda: {
        "metrics": [
            keras.metrics.MeanMetricWrapper(
                lambda y, p: keras.ops.abs(y - p) * TWICE, name="wrong"
            )
        ]
    },
    "rate": lambda: {"optimizer": keras.optimizers.SGD(lambda: 1e-4 * TWICE)},
}


@pytest.mark.filterwarnings("error:The object being serialized")
@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize("kind", PARAMS_WITH_LAMBDAS)
def test_lambdas_in_objects_of_keras(kind, engine):
    X = np.random.default_rng(0).normal(size=(40, 3))
    model = regressor(**SMALL, **PARAMS_WITH_LAMBDAS[kind](), engine=engine).fit(
        X, X[:, 0]
    )
    assert clone(model).fit(X, X[:, 0]).history_ == model.history_
    for again in (copy.deepcopy(model), cloudpickle.loads(cloudpickle.dumps(model))):
        assert_equal(again.predict(X), model.predict(X))
        again.partial_fit(X, X[:, 0])
        assert again.n_iter_ == model.n_iter_ + 1
