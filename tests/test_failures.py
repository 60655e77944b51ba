"""Fits that fail: the estimator stays as it was, and no file is left half-written."""

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

from skann import MLPKerasClassifier, MLPKerasRegressor
from skann.exceptions import DivergenceError, DivergenceWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
Y = X @ np.array([1.0, 2.0, 3.0])


def regressor(**params):
    return MLPKerasRegressor(
        **{"n_hidden": 1, "n_neurons": 4, "epochs": 3, "random_state": 0, **params}
    )


def is_fitted(model):
    try:
        check_is_fitted(model)
    except NotFittedError:
        return False
    return True


def state(model):
    """Return all that decides how a fitted estimator predicts and goes on."""
    network = model.model_
    variables = [*network.variables, *network.optimizer.variables]
    return {
        "history": {name: list(values) for name, values in model.history_.items()},
        "values": [v.numpy() for v in variables],
        "attributes": sorted(vars(model)),
        "n_iter": model.n_iter_,
    }


def assert_same_state(first, second):
    for a, b in zip(first.pop("values"), second.pop("values"), strict=True):
        assert_array_equal(a, b)
    assert first == second


# -- divergence ---------------------------------------------------------------------


class Explode(keras.callbacks.Callback):
    """Makes a fit diverge after some epochs that ended well."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.model.optimizer.learning_rate = 1e30


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_diverges_at_once(early_stopping, engine):
    model = regressor(
        optimizer="sgd", learning_rate=1e10, batch_size=4, epochs=50, engine=engine
    )
    model.set_params(early_stopping=early_stopping)
    with pytest.raises(DivergenceError, match=r"learning_rate.*StandardScaler"):
        model.fit(X, Y)
    assert not is_fitted(model)


def test_classifier_diverges():
    model = MLPKerasClassifier(optimizer="sgd", learning_rate=1e30, epochs=5)
    with pytest.raises(DivergenceError, match="learning_rate"):
        model.fit(X * 1e10, Y > 0)
    assert not is_fitted(model)


# pytest.warns shows Keras' own deprecation warnings again, past pyproject's filters.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_diverges_later(early_stopping, engine, tmp_path):
    model = regressor(
        optimizer="sgd",
        batch_size=4,
        epochs=20,
        early_stopping=early_stopping,
        checkpoint_path=tmp_path / "best.keras",
        callbacks=[Explode(epoch=3)],
        engine=engine,
    )
    with pytest.warns(DivergenceWarning, match=r"epoch 4.*learning_rate"):
        model.fit(X, Y)
    assert model.n_iter_ == 4, "it must stop at once"
    assert model.best_epoch_ < 3
    assert np.isfinite(model.predict(X)).all()
    kept = keras.models.load_model(tmp_path / "best.keras")
    assert all(np.isfinite(w).all() for w in kept.get_weights())


def test_divergence_of_a_warm_start_keeps_what_was_there():
    model = regressor(optimizer="sgd", warm_start=True, batch_size=4).fit(X, Y)
    before = state(model)
    with pytest.raises(DivergenceError, match="learning_rate"):
        model.fit(X, Y, callbacks=[Explode(epoch=3)])
    assert_same_state(state(model), before)


def test_divergence_in_a_search():
    search = GridSearchCV(
        regressor(optimizer="sgd", batch_size=4),
        {"learning_rate": [1e-3, 1e20]},
        cv=2,
        error_score=np.nan,
    )
    with pytest.warns(Warning, match=r"fits failed|non-finite"):
        search.fit(X, Y)
    assert search.best_params_ == {"learning_rate": 1e-3}
    assert np.isnan(search.cv_results_["mean_test_score"][1])


# -- a fit that is broken off ---------------------------------------------------------


class Break(keras.callbacks.Callback):
    """Raises in mid-fit."""

    def __init__(self, error, moment):
        super().__init__()
        self.error = error
        setattr(self, moment, self._raise)

    def _raise(self, *args, **kwargs):
        raise self.error


class BreakAfterTwo(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error
        self.seen = 0

    def on_epoch_end(self, epoch, logs=None):
        self.seen += 1
        if self.seen == 2:
            raise self.error


ERRORS = [KeyboardInterrupt(), ValueError("broken"), SystemExit(3)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_broken_off_first_fit(error, engine, tmp_path):
    model = regressor(
        engine=engine,
        monitor="loss",
        checkpoint_path=tmp_path / "best.keras",
        callbacks=[BreakAfterTwo(error)],
    )
    before = dict(vars(model))
    with pytest.raises(type(error)):
        model.fit(X, Y)
    assert vars(model) == before
    assert not is_fitted(model)
    # Two epochs were saved, whole, and the path is free again.
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    keras.models.load_model(tmp_path / "best.keras")
    assert is_fitted(model.set_params(callbacks=None).fit(X, Y))


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("warm_start", [True, False])
def test_broken_off_second_fit(error, warm_start):
    model = regressor(warm_start=warm_start).fit(X, Y)
    before, predicted = state(model), model.predict(X)
    with pytest.raises(type(error)):
        model.fit(X, -Y, callbacks=[BreakAfterTwo(error)])
    assert_array_equal(model.predict(X), predicted)
    assert_same_state(state(model), before)


@pytest.mark.parametrize("moment", ["on_train_begin", "on_train_end"])
def test_broken_off_at_the_ends(moment):
    model = regressor().fit(X, Y)
    before = state(model)
    callback = Break(KeyboardInterrupt(), moment)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, -Y, callbacks=[callback])
    assert_same_state(state(model), before)


def test_failed_partial_fit():
    model = regressor().partial_fit(X, Y)
    before = state(model)
    for bad in (Y * np.nan, np.c_[Y, Y], Y[:-1]):
        with pytest.raises(ValueError, match=r"y|samples"):
            model.partial_fit(X, bad)
    assert_same_state(state(model), before)
    goes_on = pickle.loads(pickle.dumps(model)).partial_fit(X, Y)
    assert_array_equal(model.partial_fit(X, Y).predict(X), goes_on.predict(X))


def test_history_of_a_validation_set_that_came_later():
    model = regressor(warm_start=True, early_stopping=False).fit(X, Y)
    model.fit(X, Y, X_val=X, y_val=Y)
    val_loss = model.history_["val_loss"]
    assert len(val_loss) == len(model.history_["loss"]) == model.n_iter_ == 6
    assert np.isnan(val_loss[:3]).all()
    assert model.best_epoch_ == np.nanargmin(val_loss)


# -- checkpoint paths -----------------------------------------------------------------


def claim(path):
    """Return the directory by which a fit claims a checkpoint path."""
    return path.parent / f".{path.name}.writing"


@pytest.mark.parametrize("parts", [("file", "a.keras"), ("directory.keras",)])
def test_path_that_cannot_be_written(parts, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    (tmp_path / "directory.keras").mkdir()
    before = sorted(tmp_path.rglob("*"))
    model = regressor(checkpoint_path=tmp_path.joinpath(*parts), monitor="loss")
    with pytest.raises(ValueError, match="checkpoint_path="):
        model.fit(X, Y)
    assert not is_fitted(model)
    assert sorted(tmp_path.rglob("*")) == before


def test_without_tensorboard_no_directory_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("skann._training.callbacks.find_spec", lambda name: None)
    model = regressor(tensorboard_dir=tmp_path / "logs")
    with pytest.raises(ImportError, match="pip install"):
        model.fit(X, Y)
    assert not (tmp_path / "logs").exists()


def test_tensorboard_dir_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    for path in (tmp_path / "file", tmp_path / "file" / "logs"):
        model = regressor(tensorboard_dir=path)
        with pytest.raises(ValueError, match="tensorboard_dir="):
            model.fit(X, Y)
        assert not is_fitted(model)


@pytest.mark.parametrize("name", ["a{b}.keras", "{.keras", "{nope}/a.keras", "é .h5"])
def test_odd_path_is_written_as_it_stands(name, tmp_path):
    path = tmp_path / name
    model = regressor(checkpoint_path=path, monitor="loss").fit(X, Y)
    assert model.checkpoint_path_ == str(path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_claim_of_a_process_that_was_killed(tmp_path):
    path = tmp_path / "best.keras"
    claim(path).mkdir()
    (claim(path) / "lock").touch()
    (claim(path) / path.name).write_text("half-written")
    (claim(path) / "junk").write_text("half-written")
    model = regressor(checkpoint_path=path, monitor="loss", optimizer="sgd")
    with pytest.raises(DivergenceError):  # Nothing is saved, nor taken for a save.
        model.set_params(learning_rate=1e30, batch_size=4).fit(X, Y)
    assert not list(tmp_path.iterdir())
    model.set_params(learning_rate=0.01)
    model.fit(X, Y)
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    keras.models.load_model(path)


class Wait(keras.callbacks.Callback):
    """Holds a fit between two epochs; shared by the copies of it."""

    inside, go_on = threading.Event(), threading.Event()

    def on_epoch_end(self, epoch, logs=None):
        self.inside.set()
        assert self.go_on.wait(60)


def test_two_fits_with_one_path(tmp_path):
    path = tmp_path / "best.keras"
    first = regressor(checkpoint_path=path, monitor="loss", callbacks=[Wait()])
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(first.fit, X, Y)
        assert Wait.inside.wait(60)
        try:
            second = regressor(checkpoint_path=path, monitor="loss")
            with pytest.raises(ValueError, match=r"checkpoint_path=.*another fit"):
                second.fit(X, Y)
        finally:
            Wait.go_on.set()
        assert is_fitted(running.result())
    assert not is_fitted(second)
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]


def test_full_disk(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "best.keras"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    model = regressor(n_neurons=2000, checkpoint_path=path, monitor="loss")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        with pytest.raises(OSError, match=r"large|space"):
            model.fit(X, Y)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not is_fitted(model)
    assert not list(tmp_path.iterdir())


# -- fresh processes ------------------------------------------------------------------


def fresh(code, *arguments):
    """Run code in a new Python process and return it, finished."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_silent_in_a_fresh_process_and_its_child(tmp_path):
    ran = fresh(
        """
        import subprocess, sys
        import numpy as np
        from skann import MLPKerasClassifier, MLPKerasRegressor

        # It inherits what importing skann has put into its parent's environment.
        subprocess.run([sys.executable, "-c", "import skann"], check=True)

        X = np.random.default_rng(0).normal(size=(200, 3))
        y = X.sum(axis=1)

        def build(n_neurons=4, input_shape=(3,)):
            import keras

            model = keras.Sequential(
                [
                    keras.Input(input_shape),
                    keras.layers.Dense(n_neurons, activation="relu"),
                    keras.layers.Dense(1),
                ]
            )
            model.compile(loss="mse", optimizer="sgd")
            return model

        MLPKerasRegressor(build, epochs=2).fit(X, y).predict(X)
        for name in ("a.keras", "a.h5"):
            MLPKerasRegressor(
                n_hidden=1,
                n_neurons=4,
                batch_size=8,
                epochs=100,
                early_stopping=True,
                patience=1,
                checkpoint_path=f"{sys.argv[1]}/{name}",
                tensorboard_dir=f"{sys.argv[1]}/logs",
            ).fit(X, y).predict(X)
        MLPKerasRegressor(epochs=2, engine="keras").fit(X, y).predict(X)
        MLPKerasClassifier(epochs=2).fit(X, y > 0).predict_proba(X)
        try:
            MLPKerasRegressor(optimizer="sgd", learning_rate=1e20).fit(X, y)
        except ArithmeticError:
            pass
        """,
        tmp_path,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.slow
def test_silent_in_the_processes_of_a_search():
    ran = fresh(
        """
        import numpy as np
        from sklearn.model_selection import GridSearchCV
        from skann import MLPKerasRegressor

        X = np.random.default_rng(0).normal(size=(40, 3))
        search = GridSearchCV(
            MLPKerasRegressor(epochs=2), {"n_hidden": [0, 1]}, cv=2, n_jobs=2
        )
        search.fit(X, X.sum(axis=1)).predict(X)
        """
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_killed_in_mid_fit(tmp_path):
    path = tmp_path / "best.keras"
    code = """
        import sys
        import keras
        import numpy as np
        from skann import MLPKerasRegressor

        class Tell(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                print(epoch, flush=True)

        X = np.random.default_rng(0).normal(size=(40, 3))
        MLPKerasRegressor(
            n_hidden=2,
            n_neurons=600,
            epochs=10_000,
            batch_size=40,
            engine="keras",
            monitor="loss",
            checkpoint_path=sys.argv[1],
            checkpoint_save_best_only=False,
            callbacks=[Tell()],
        ).fit(X, X.sum(axis=1))
        """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        for line in process.stdout:
            if int(line) == 3:
                break
        process.kill()
    keras.models.load_model(path)  # It is whole.
    model = regressor(checkpoint_path=path, monitor="loss").fit(X, Y)
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    kept = keras.models.load_model(path)
    assert kept.count_params() == model.model_.count_params()


# -- threads --------------------------------------------------------------------------


def build(n_neurons=3):
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(n_neurons, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )


def test_threads_give_what_a_fit_alone_gives():
    models = [
        regressor(n_neurons=n, dropout=d, random_state=seed, early_stopping=True)
        for n, d in ((4, 0.0), (5, 0.3))
        for seed in (0, 1)
    ]
    models += [MLPKerasRegressor(build, epochs=3, random_state=seed) for seed in (0, 1)]
    alone = [model.fit(X, Y).predict(X) for model in models]
    with ThreadPoolExecutor(4) as threads:
        together = threads.map(lambda model: model.fit(X, Y).predict(X), models)
        for a, b in zip(alone, together, strict=True):
            assert_array_equal(a, b)


def build_too_fast(meta):
    model = keras.Sequential([keras.Input(meta["X_shape_"][1:]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(50.0), "mse")
    return model


SCHEDULE = keras.optimizers.schedules.PiecewiseConstantDecay([10**6], [1e30, 1.0])


def divergence_of(model):
    """Return what is told of a fit that diverges, at once or later."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X, Y)
        except DivergenceError as error:
            return str(error)
    return next(str(w.message) for w in caught if w.category is DivergenceWarning)


@pytest.mark.parametrize(
    ("params", "rate"),
    [
        ({"learning_rate": 1e30}, "1e+30"),
        ({"optimizer": keras.optimizers.SGD(1e30)}, "1e+30"),
        ({"optimizer": keras.optimizers.SGD(SCHEDULE)}, "1e+30"),
        ({"optimizer": "sgd", "optimizer_kwargs": {"learning_rate": 1e30}}, "1e+30"),
        ({"model": build_too_fast, "epochs": 200}, "50"),
    ],
)
def test_divergence_names_the_rate_of_the_optimizer(params, rate):
    model = MLPKerasRegressor(**params, random_state=0)
    assert f"(it is {rate})" in divergence_of(model)
