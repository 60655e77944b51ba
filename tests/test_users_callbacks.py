"""Callbacks as users write them: odd classes, logs of their own, what has no copy."""

import gc
import io
import pickle
import threading
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

from skann import MLPKerasRegressor

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ np.array([1.0, 2.0, 3.0])


def regressor(callbacks, **params):
    small = {"n_hidden": 1, "n_neurons": 4, "epochs": 5, "random_state": 0}
    return MLPKerasRegressor(**{**small, **params}, callbacks=callbacks)


class NoSuper(keras.callbacks.Callback):
    """Does not call the constructor of its base."""

    def __init__(self):
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        assert self.model.built
        self.epochs.append(epoch)


class Score(keras.callbacks.Callback):
    """Puts a score in the logs, the least in the middle of a fit."""

    def __init__(self, every=1):
        super().__init__()
        self.every = every

    def on_epoch_end(self, epoch, logs=None):
        if epoch % self.every == 0:
            logs["val_score"] = abs(epoch - 2)


class Holds(keras.callbacks.Callback):
    """Holds what has no copy, among what has one."""

    def __init__(self, thing):
        super().__init__()
        self.thing = thing
        self.state = {"things": [thing], "epochs": []}

    def on_epoch_end(self, epoch, logs=None):
        self.state["epochs"].append(epoch)


class Refuses:
    """Raises what it likes where it is copied."""

    def __deepcopy__(self, memo):
        raise RuntimeError("no copies")


@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_a_class_that_does_not_call_its_base(engine):
    callback = NoSuper()
    model = regressor([callback], engine=engine).fit(X, Y)
    assert callback.epochs == []
    assert model.callbacks_[0].epochs == list(range(5))
    assert len(clone(model).fit(X, Y).callbacks_[0].epochs) == 5


@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_what_a_callback_adds_is_watched(engine, mode, tmp_path):
    path = tmp_path / "best.weights.h5"
    model = regressor(
        [Score()],
        engine=engine,
        early_stopping=True,
        patience=10,
        monitor="val_score",
        monitor_mode=mode,
        checkpoint_path=path,
    ).fit(X, Y)
    assert model.history_["val_score"] == [2.0, 1.0, 0.0, 1.0, 2.0]
    assert model.best_epoch_ == (2 if mode == "min" else 0)
    kept = keras.models.clone_model(model.model_)
    kept.load_weights(path)
    for a, b in zip(kept.get_weights(), model.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("engine", ["auto", "keras"])
def test_what_is_added_in_some_epochs_stands_at_their_places(engine):
    model = regressor([Score(every=2)], engine=engine, monitor_mode="min")
    model.set_params(monitor="val_score").fit(X, Y)
    np.testing.assert_array_equal(
        model.history_["val_score"], [2, np.nan, 0, np.nan, 2]
    )
    assert model.best_epoch_ == 2


@pytest.mark.filterwarnings("ignore:Early stopping conditioned")  # Keras' own.
@pytest.mark.parametrize("where", ["monitor", "callback"])
def test_a_name_that_no_callback_adds_is_an_error_of_the_first_epoch(where):
    seen = []
    tell = keras.callbacks.LambdaCallback(on_epoch_end=lambda i, logs: seen.append(i))
    if where == "monitor":
        model = regressor([tell], monitor="nope", early_stopping=True)
        model.set_params(monitor_mode="max")
    else:
        model = regressor([tell, keras.callbacks.EarlyStopping("nope", mode="max")])
    with pytest.raises(ValueError, match=r"monitor='nope'.*first epoch.*'loss'"):
        model.fit(X, Y)
    assert seen == [0]
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        keras.callbacks.ReduceLROnPlateau("loss"),
    ],
)
def test_the_learning_rate_that_keras_adds_is_watched(callback):
    stop = keras.callbacks.EarlyStopping("learning_rate", mode="max", patience=1)
    assert regressor([callback, stop]).fit(X, Y).n_iter_ == 2


@pytest.mark.parametrize("make", [threading.Lock, io.BytesIO, Refuses], ids=str)
def test_what_has_no_copy_is_shared_and_all_else_copied(make):
    callback = Holds(make())
    model = regressor([callback], epochs=2)
    (own,) = model.fit(X, Y).callbacks_
    assert own is not callback
    assert own.state["epochs"] == [0, 1]
    assert callback.state["epochs"] == []
    if make is not io.BytesIO:
        assert own.thing is callback.thing is own.state["things"][0]
    search = GridSearchCV(model, {"learning_rate": [0.01, 0.1]}, cv=2).fit(X, Y)
    assert search.best_estimator_.callbacks_[0].state["epochs"] == [0, 1]
    assert callback.state["epochs"] == []


@pytest.mark.parametrize("has_copy", [True, False])
def test_what_owns_something_outside_of_python_is_shared(has_copy, tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    others = {} if has_copy else threading.Lock()
    callback = Holds(types.SimpleNamespace(writer=writer, others=others))
    model = regressor([callback]).fit(X, Y)
    assert model.callbacks_[0].thing.writer is writer
    clone(model).fit(X, Y)
    del model
    gc.collect()
    with writer.as_default():
        assert tf.summary.scalar("still open", 1.0, step=0)
    with tf.GradientTape() as tape:  # It needs caches of tensorflow's context.
        x = tf.Variable([1.0])
        loss = tf.reduce_sum(x * x)
    assert float(tape.gradient(loss, x)[0]) == 2.0


@pytest.mark.parametrize("has_copy", [True, False])
def test_callbacks_that_know_one_another_go_on_to_do_so(has_copy):
    first, second = NoSuper(), Holds({} if has_copy else threading.Lock())
    second.first = first
    model = regressor([first, second]).fit(X, Y)
    assert model.callbacks_[1].first is model.callbacks_[0] is not first
    copies = clone(model).callbacks
    assert copies[1].first is copies[0] is not first


def test_lists_of_callbacks_of_any_kind():
    one, other, third = NoSuper(), NoSuper(), NoSuper()
    held = keras.callbacks.CallbackList([one, [other]])
    for given in (held, [held], [one, (other,)], (one, other)):
        model = regressor(given).fit(X, Y, callbacks=third)
        assert [len(c.epochs) for c in model.callbacks_] == [5, 5, 5]
        assert model.engine_ == "numpy"


def test_hyperparameters_for_tensorboard(tmp_path):
    hp = pytest.importorskip("tensorboard.plugins.hparams.api")
    model = regressor([hp.KerasCallback(str(tmp_path), {"units": 4})])
    model = GridSearchCV(model, {"epochs": [1, 2]}, cv=2).fit(X, Y).best_estimator_
    assert model.engine_ == "numpy"
    assert list(tmp_path.iterdir())


def test_the_copies_stay_out_of_pickles_and_clones():
    model = regressor([Holds(None)]).fit(X, Y)
    assert not hasattr(pickle.loads(pickle.dumps(model)), "callbacks_")
    assert not hasattr(clone(model), "callbacks_")
    assert not hasattr(regressor(None).fit(X, Y), "callbacks_")


def test_weights_are_put_back_before_a_callback_hears_of_the_end():
    seen = []

    class Saves(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            seen.append(self.model.get_weights()[0])

    model = regressor([Score(), Saves()], early_stopping=True, patience=9)
    model.set_params(monitor="val_score", monitor_mode="min").fit(X, Y)
    np.testing.assert_array_equal(seen[0], model.model_.get_weights()[0])


def test_a_restart_goes_on_where_it_was_and_may_have_nothing_left(tmp_path):
    def interrupted(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupted)
    whole = regressor(None, shuffle=False).fit(X, Y)
    with pytest.raises(KeyboardInterrupt):
        regressor([backup, stop], shuffle=False).fit(X, Y)
    rest = regressor([backup], shuffle=False).fit(X, Y)
    assert rest.n_iter_ == 3
    np.testing.assert_allclose(rest.history_["loss"], whole.history_["loss"][2:])
    np.testing.assert_allclose(rest.predict(X), whole.predict(X), rtol=1e-6)
    done = regressor([backup], shuffle=False).fit(X, Y)
    assert (done.n_iter_, done.best_epoch_, done.loss_curve_) == (0, None, [])
    np.testing.assert_array_equal(done.predict(X), rest.predict(X))


@pytest.mark.parametrize("engine", ["auto", "keras"])
@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin"])
def test_a_model_compiled_anew_is_trained_as_it_is(engine, hook):
    def compile_anew(self, epoch_or_logs, logs=None):
        if epoch_or_logs in ({}, 2):
            self.model.compile(keras.optimizers.SGD(0.0), "mae", metrics=["mse"])

    callback = type("Compiles", (keras.callbacks.Callback,), {hook: compile_anew})()
    model = regressor([callback], engine=engine, normalize_y=False).fit(X, Y)
    last = model.history_["loss"][-2:]
    assert last[0] == pytest.approx(last[1])  # At a rate of 0.
    assert last[0] == pytest.approx(np.abs(model.predict(X) - Y).mean(), rel=1e-5)
    assert np.isfinite(model.history_["mse"][-1])
    assert model.engine_ == ("keras" if engine == "keras" else "graph")


@pytest.mark.parametrize("more", [{}, {"n_neurons": 70, "epochs": 3000}, {"l2": 0.1}])
def test_the_models_own_metrics_are_those_of_the_epoch(more):
    seen = []

    class Reads(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(float(self.model.get_metrics_result()["loss"]))

        def on_epoch_end(self, epoch, logs=None):
            seen.append(float(self.model.get_metrics_result()["loss"]))
            expected = [logs["loss"], logs["val_loss"]]
            np.testing.assert_allclose(seen[-2:], expected, rtol=1e-6)
            self.model.stop_training = True

    regressor([Reads()], **more).fit(X, Y, X_val=X[:9], y_val=Y[:9])
    assert len(seen) == 2
