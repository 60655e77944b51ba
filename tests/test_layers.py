"""Every layer of Keras' alone in a small network: what comes back is what was saved."""

import copy
import io
import pickle

import joblib
import keras_layers
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_validate
from thinned import thinned

from skann import MLPKerasRegressor
from skann.exceptions import ModelError

WAYS = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "deepcopy": copy.deepcopy,
    "joblib": lambda model: joblib.load(dumped(model)),
}


def dumped(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return file


def test_the_table_knows_every_layer():
    known = set(keras_layers.every_layer())
    assert known >= keras_layers.LEFT_OUT.keys()
    assert len(known - keras_layers.LEFT_OUT.keys()) > 120


# Those whose state is of another kind each: derived, in a table, in the configuration,
# in seeds, in layers within. The others take some minutes.
OF_EACH_KIND = {
    *("BatchNormalization", "Dropout", "Embedding", "GRU", "IntegerLookup", "Lambda"),
    *("Normalization", "Pipeline", "RandomShear", "SpectralNormalization"),
}


# Of Masking, whose mask no layer after it takes.
@pytest.mark.filterwarnings("ignore:Layer 'flatten:UserWarning")
@pytest.mark.parametrize(
    "name",
    thinned(
        [
            name
            for name in keras_layers.every_layer()
            if name not in keras_layers.LEFT_OUT
        ],
        OF_EACH_KIND,
    ),
)
def test_a_layer_comes_back_as_it_was(name):
    X = keras_layers.rows_of(keras_layers.shape_for(name))
    y = X.reshape(len(X), -1).sum(axis=1)
    given = {"epochs": 1, "batch_size": 4, "random_state": 0}
    model = MLPKerasRegressor(
        keras_layers.build_with, model_kwargs={"name": name}, **given
    ).fit(X, y)
    assert_comes_back(model, X, y)

    if not keras_layers.has_state(name):
        return
    ready = MLPKerasRegressor(keras_layers.build_with(name), **given)
    if name in keras_layers.NEVER_READY:
        with pytest.raises(ModelError, match=f"copied.*{name}"):
            ready.fit(X, y)
        return
    expected = clone(ready).fit(X, y).predict(X)
    np.testing.assert_array_equal(ready.fit(X, y).predict(X), expected)
    assert_comes_back(ready, X, y)
    split = [(np.arange(4, 8), np.arange(4))]
    told = cross_validate(ready, X, y, cv=split, return_estimator=True)
    (fold,), (score,) = told["estimator"], told["test_score"]
    assert pickle.loads(pickle.dumps(fold)).score(X[:4], y[:4]) == score


def assert_comes_back(model, X, y):
    before = model.predict(X)
    assert np.isfinite(before).all()
    copies = {way: take(model) for way, take in WAYS.items()}
    for way, one in copies.items():
        np.testing.assert_array_equal(one.predict(X), before, way)
    # Some layers draw random numbers in predictions as well.
    np.testing.assert_array_equal(model.predict(X), before)
    after = model.partial_fit(X, y).predict(X)
    for way, one in copies.items():
        np.testing.assert_array_equal(one.partial_fit(X, y).predict(X), after, way)
