"""A network in arrays and as a Keras model: neither is ever behind the other."""

import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from skann import MLPKerasRegressor
from skann.exceptions import DivergenceError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = X @ [1.0, 2.0, 3.0] + RNG.normal(size=60)


BRIEF = {"n_neurons": 5, "epochs": 3, "random_state": 0}


def network(**params):
    return MLPKerasRegressor(
        **{"n_neurons": 5, "epochs": 3, "random_state": 0} | params
    )


# Ways to a fitted network whose Keras model is there, and nobody has it.
MODELS = {
    "verbose": lambda **p: network(**p).fit(X, Y, verbose=2),
    "by Keras": lambda **p: network(engine="keras", **p).fit(X, Y),
    "initialized": lambda **p: network(**p).initialize(X, Y),
    "unpickled": lambda **p: _unpickled(network(**p).fit(X, Y)),
}


def _unpickled(fitted):
    fitted.model_.get_weights()
    return pickle.loads(pickle.dumps(fitted))


@pytest.mark.parametrize("way", MODELS)
def test_a_fit_that_diverges_leaves_the_network_as_it_was(way):
    fitted = MODELS[way](optimizer="sgd").set_params(engine="auto")
    expected = fitted.predict(X)
    with pytest.raises(DivergenceError):
        fitted.set_params(learning_rate=1e30).partial_fit(X, Y)
    np.testing.assert_array_equal(fitted.predict(X), expected)
    fitted.set_params(learning_rate=0.003).partial_fit(X, Y)
    assert np.isfinite(fitted.predict(X)).all()


@pytest.mark.parametrize("way", MODELS)
def test_a_rate_of_a_fit_that_failed_early_is_not_kept(way):
    fitted = MODELS[way](warm_start=True).set_params(engine="auto")
    before = fitted._network.learning_rate
    fitted.set_params(learning_rate=0.5, early_stopping=True, monitor="val_loss")
    with pytest.raises(ValueError, match="needs a validation set"):
        fitted.set_params(validation_fraction=None).fit(X, Y)
    assert fitted._network.learning_rate == before
    fitted.set_params(learning_rate=None, early_stopping=False).fit(X, Y)
    assert fitted._network.learning_rate == before


@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_rate_by_itself_is_found_after_initialize(engine, method):
    fitted = network(learning_rate="auto", warm_start=True, engine=engine)
    getattr(fitted.initialize(X, Y), method)(X, Y)
    assert fitted.learning_rate_ == pytest.approx(fitted.model_.optimizer.learning_rate)
    other = network(learning_rate="auto", warm_start=True, engine="keras")
    getattr(other.initialize(X, Y), method)(X, Y)
    assert fitted.learning_rate_ == pytest.approx(other.learning_rate_)
    np.testing.assert_allclose(fitted.predict(X), other.predict(X), rtol=1e-5)


@pytest.mark.parametrize("way", MODELS)
def test_what_was_never_trained_comes_back_too(way):
    fitted = MODELS[way]()
    again = pickle.loads(pickle.dumps(fitted))
    again = pickle.loads(pickle.dumps(again))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    for mine, yours in zip(
        again.model_.get_weights(), fitted.model_.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, yours)
    for each in (fitted, again):
        each.partial_fit(X, Y)
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))


@pytest.mark.parametrize("meanwhile", [pickle.dumps, lambda e: e.predict(X)])
def test_who_looks_amid_training_changes_nothing(meanwhile, monkeypatch):
    fitted = network(warm_start=True).fit(X, Y)
    fitted.fit(X, Y, verbose=2)
    expected = pickle.loads(pickle.dumps(fitted)).fit(X, Y, verbose=2)
    done = []

    def look(*_):
        thread = threading.Thread(target=lambda: done.append(meanwhile(fitted)))
        thread.start()
        thread.join(60)

    # Of a fit whose model nobody has: a callback would have it.
    monkeypatch.setattr("skann._estimators.base.BaseMLPKeras._report_divergence", look)
    fitted.fit(X, Y, verbose=2)
    monkeypatch.undo()
    assert len(done) == 1
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))
    np.testing.assert_allclose(
        fitted.model_.predict(X, verbose=0).ravel(), fitted.predict(X), rtol=1e-5
    )


def test_no_step_is_lost_where_the_model_is_first_asked_for_amid_training():
    fitted = network().fit(X, Y)
    expected = network().fit(X, Y)
    asking = threading.Thread(target=lambda: fitted.model_)
    asking.start()
    n_epochs = fitted.n_iter_
    # From before it is asked for until after: at every moment of it some step begins.
    while asking.is_alive() or n_epochs < 30:
        fitted.partial_fit(X, Y)
        expected.partial_fit(X, Y)
        n_epochs += 1
    asking.join()
    steps = [int(e.model_.optimizer.iterations.numpy()) for e in (fitted, expected)]
    assert steps[0] == steps[1] == 2 * n_epochs
    np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))


@pytest.mark.parametrize("name", ["KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"])
def test_limits_of_keras_hold_whoever_imports_it(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    code = """
import numpy as np
from skann import MLPKerasRegressor
X = np.random.default_rng(0).normal(size=(60, 3))
model = MLPKerasRegressor(epochs=4, random_state=0).fit(X, X[:, 0])
print(model.engine_, len(model.history_["loss"]))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    n_epochs = 1 if name == "KERAS_MAX_EPOCHS" else 4
    assert run.stdout.split() == ["keras", str(n_epochs)]
