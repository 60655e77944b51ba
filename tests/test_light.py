"""What needs no tensorflow starts none, seen in fresh processes."""

import json
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasClassifier, MLPKerasRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = 3 * X[:, 0] + X[:, 1] ** 2
LABELS = np.array(["a", "b", "c"])[np.digitize(Y, [0, 2])]
BRIEF = {"n_neurons": 8, "epochs": 3, "random_state": 0}

# Each step is named; after it, what is heavy and was imported is told.
STEPS = """
import copy, json, pickle, sys
told = {}
def tell(step):
    told[step] = [n for n in ("tensorflow", "keras", "scikeras") if n in sys.modules]
import numpy as np
import skann, skann.search, skann.plotting, skann.datasets, skann.models
import skann.exceptions
tell("import")
from skann import MLPKerasClassifier, MLPKerasRegressor
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
both = MLPKerasRegressor(epochs=3), MLPKerasClassifier(epochs=3, dropout=0.1)
tell("construct")
[(repr(e), e._repr_html_(), e.get_params(), clone(e)) for e in both]
[e.set_params(n_hidden=1, optimizer__beta_1=0.8) for e in both]
pickle.loads(pickle.dumps(both)), copy.deepcopy(both), copy.copy(both[0])
tell("look at")
X = np.random.default_rng(0).normal(size=(60, 4))
y, labels = X[:, 0], np.arange(60) % 3
for more in (
    {},
    {"early_stopping": True, "validation_fraction": 0.2},
    {"loss": "mae", "optimizer": "sgd", "optimizer_kwargs": {"momentum": 0.9}},
    {"l2": 0.01, "activation": "tanh", "dtype": "float32", "n_hidden": 0},
    {"hidden_layer_sizes": (5, 3), "kernel_initializer": "he_uniform"},
    {"learning_rate_schedule": "one-cycle"},
):
    model = MLPKerasRegressor(epochs=3, random_state=0, **more).fit(X, y)
    model.predict(X), model.score(X, y)
several = MLPKerasRegressor(epochs=3).fit(X, X[:, :2])
classifier = MLPKerasClassifier(epochs=3, class_weight="balanced").fit(X, labels)
classifier.predict(X), classifier.predict_proba(X), classifier.predict_log_proba(X)
MLPKerasClassifier(epochs=3).fit(X, labels == 1)
MLPKerasClassifier(epochs=3).fit(X, np.column_stack([labels == 1, y > 0]))
tell("fit and predict")
for e in (model, classifier):
    again = pickle.loads(pickle.dumps(e))
    again, _ = copy.deepcopy(again), copy.copy(again)
    assert (again.predict(X) == e.predict(X)).all()
tell("pickle")
model.partial_fit(X, y), again.partial_fit(X, labels)
model.set_params(warm_start=True).fit(X, y)
MLPKerasRegressor().partial_fit(X, y).partial_fit(X, y)
tell("go on")
pipe = make_pipeline(StandardScaler(), MLPKerasRegressor(epochs=2))
grid = {"mlpkerasregressor__n_neurons": [5, 10]}
GridSearchCV(pipe, grid, cv=2).fit(X, y).predict(X)
cross_val_score(pipe, X, y, cv=2)
tell("search")
def fitted_in_a_worker():
    search = GridSearchCV(MLPKerasRegressor(epochs=2), {"n_neurons": [3]}, cv=2)
    search.fit(X, y)
    return [n for n in ("tensorflow", "keras", "scikeras") if n in sys.modules]
told["workers"] = sum(Parallel(n_jobs=2)([delayed(fitted_in_a_worker)()] * 2), [])
try:
    MLPKerasRegressor(epochs=0).fit(X, y)
except ValueError:
    tell("error")
assert model.model_.built
tell("model_")
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    code = [sys.executable, "-W", "error", "-c", STEPS]
    done = subprocess.run(code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "step",
    [
        *("import", "construct", "look at", "fit and predict", "pickle", "go on"),
        *("search", "workers", "error"),
    ],
)
def test_no_tensorflow_is_imported_to(step, told):
    assert told[step] == []


def test_it_is_for_the_model(told):
    assert told["model_"] == ["tensorflow", "keras", "scikeras"]


FITS = {
    "in NumPy": (MLPKerasRegressor, {}),
    "by Keras": (MLPKerasRegressor, {"engine": "keras"}),
    "compiled": (MLPKerasClassifier, {"epochs": 1500, "batch_size": 20}),
    "as a graph": (MLPKerasRegressor, {"dropout": 0.2, "normalization": "batch"}),
    "normalised": (MLPKerasClassifier, {"normalization": "layer", "dropout": 0.1}),
    "other activations": (MLPKerasRegressor, {"activation": ["gelu", "selu"]}),
    "metrics": (MLPKerasClassifier, {"metrics": ["accuracy"]}),
    "another optimizer": (MLPKerasRegressor, {"optimizer": "rmsprop"}),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Load each pipeline in one fresh process, which predicts: what it says."""
    directory = tmp_path_factory.mktemp("served")
    for name, (cls, params) in FITS.items():
        pipe = make_pipeline(StandardScaler(), cls(**{**BRIEF, **params}))
        pipe.fit(X, LABELS if cls is MLPKerasClassifier else Y)
        for state, with_model in (("", False), (", model_ used", True)):
            if with_model:
                pipe[-1].model_.get_weights()
            joblib.dump(pipe, directory / f"{name}{state}")
            np.save(directory / f"{name}{state}.npy", pipe.predict(X))
    np.save(directory / "X.npy", X)
    code = f"""
import joblib, json, sys
import numpy as np
from pathlib import Path
X, told = np.load(Path({str(directory)!r}) / "X.npy"), {{}}
for path in Path({str(directory)!r}).iterdir():
    if path.suffix != ".npy":
        pipe = joblib.load(path)
        same = pipe.predict(X) == np.load(f"{{path}}.npy")
        heavy = [n for n in ("tensorflow", "keras", "scikeras") if n in sys.modules]
        told[path.name] = bool(same.all()), heavy
print(json.dumps(told))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("state", ["", ", model_ used"])
@pytest.mark.parametrize("fit", FITS)
def test_a_pipeline_is_served_without_tensorflow(fit, state, served):
    assert served[f"{fit}{state}"] == [True, []]


def _values(model):
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


@pytest.mark.parametrize("model_used", [False, True])
@pytest.mark.parametrize("fit", FITS)
def test_it_goes_on_as_the_one_that_was_saved(fit, model_used):
    cls, params = FITS[fit]
    y = LABELS if cls is MLPKerasClassifier else Y
    saved = cls(**{**BRIEF, **params}).fit(X, y)
    if model_used:
        saved.model_.get_weights()
    loaded = pickle.loads(pickle.dumps(saved))
    for estimator in (saved, loaded):
        estimator.partial_fit(X, y)
    assert saved.history_ == loaded.history_
    for mine, yours in zip(_values(saved.model_), _values(loaded.model_), strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert saved.model_.get_config() == loaded.model_.get_config()
    assert saved.model_.get_compile_config() == loaded.model_.get_compile_config()
