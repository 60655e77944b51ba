"""Early stopping, checkpoints, TensorBoard and the user's Keras callbacks."""

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import scale

from skann import MLPKerasClassifier, MLPKerasRegressor

SMALL = {"n_hidden": 1, "n_neurons": 16, "learning_rate": 0.01, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    X, y = load_diabetes(return_X_y=True)
    return scale(X), y


def test_early_stopping_restores_the_best_weights(data):
    X, y = data
    train, test = slice(0, 100), slice(100, 200)
    model = MLPKerasRegressor(**SMALL, early_stopping=True, patience=5, epochs=200)
    model.fit(X[train], y[train], X_val=X[test], y_val=y[test])
    losses = model.history_["val_loss"]
    assert model.best_epoch_ == np.argmin(losses)
    assert model.n_iter_ == len(losses) == model.best_epoch_ + 1 + 5
    mse = np.mean((model.predict(X[test]) - y[test]) ** 2)
    assert mse == pytest.approx(min(losses), rel=1e-5)


def test_best_weights_are_restored_when_the_epochs_run_out(data):
    X, y = data
    train, test = slice(0, 100), slice(100, 200)
    model = MLPKerasRegressor(**SMALL, patience=1000, epochs=60)
    model.fit(X[train], y[train], validation_data=(X[test], y[test]))
    assert model.best_epoch_ < 59
    mse = np.mean((model.predict(X[test]) - y[test]) ** 2)
    assert mse == pytest.approx(min(model.history_["val_loss"]), rel=1e-5)


def test_early_stopping_auto(data):
    X, y = data
    assert "val_loss" not in MLPKerasRegressor(**SMALL, epochs=1).fit(X, y).history_
    many = np.tile(X, (3, 1)), np.tile(y, 3)
    assert "val_loss" in MLPKerasRegressor(**SMALL, epochs=1).fit(*many).history_
    own = keras.callbacks.EarlyStopping("val_loss", patience=0)
    model = MLPKerasRegressor(**SMALL, callbacks=[own]).fit(X, y)
    assert model.n_iter_ < 100  # a validation set was held out for it


def test_held_out_rows_are_stratified_shuffled_and_seeded():
    from skann._data.validation import hold_out

    y = np.repeat([0, 1, 2], [10, 30, 60])
    train, held_out = hold_out(100, 0.2, y, seed=0)
    np.testing.assert_array_equal(np.bincount(y[held_out]), [2, 6, 12])
    np.testing.assert_array_equal(np.sort(np.r_[train, held_out]), np.arange(100))
    np.testing.assert_array_equal(hold_out(100, 0.2, y, seed=0)[1], held_out)
    assert not np.array_equal(hold_out(100, 0.2, y, seed=1)[1], held_out)
    assert not np.array_equal(held_out, np.arange(80, 100))


@pytest.mark.parametrize("name", ["best.keras", "best.h5", "best.weights.h5"])
def test_checkpoints_by_their_ending(data, tmp_path, name):
    X, y = data
    path = tmp_path / "new" / name
    given = {"X_val": X[::9], "y_val": -y[::9]}  # So that an early epoch is the best.
    model = MLPKerasRegressor(**SMALL, checkpoint_path=path, epochs=5)
    model.fit(X, y, **given)
    assert model.best_epoch_ < 4
    assert model.checkpoint_path_ == str(path)
    assert [p.name for p in path.parent.iterdir()] == [name]
    if name.endswith(".weights.h5"):
        best = keras.models.clone_model(model.model_)
        best.load_weights(path)
    else:
        best = keras.models.load_model(path, compile=False)
    alone = MLPKerasRegressor(**SMALL, epochs=model.best_epoch_ + 1)
    alone.fit(X, y, **given)
    for a, b in zip(best.get_weights(), alone.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_clones_write_checkpoints_to_directories_of_their_own(data, tmp_path):
    X, y = data
    path = tmp_path / "best.keras"
    model = MLPKerasRegressor(**SMALL, checkpoint_path=path, epochs=1)
    paths = {clone(model).fit(X, y).checkpoint_path_ for _ in range(2)}
    paths.add(model.fit(X, y).checkpoint_path_)
    assert len(paths) == 3
    assert str(path) in paths
    assert all(keras.models.load_model(p, compile=False) for p in paths)


def test_tensorboard_shows_two_runs_side_by_side(data, tmp_path):
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    X, y = data
    model = MLPKerasRegressor(**SMALL, tensorboard_dir=tmp_path, epochs=3)
    fits = [clone(model).fit(X, y, X_val=X[:50], y_val=y[:50]) for _ in range(2)]
    runs = [fit.tensorboard_dir_ for fit in fits]
    assert len(set(runs)) == 2
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    for fit in fits:
        run = fit.tensorboard_dir_.rsplit("/", 1)[-1]
        for part, name in (("train", "loss"), ("validation", "val_loss")):
            events = multiplexer.Tensors(f"{run}/{part}", "epoch_loss")
            values = [
                float(np.frombuffer(e.tensor_proto.tensor_content, "f4")[0])
                if e.tensor_proto.tensor_content
                else e.tensor_proto.float_val[0]
                for e in events
            ]
            np.testing.assert_allclose(values, fit.history_[name], rtol=1e-6)


class Recorder(keras.callbacks.Callback):
    """Notes what it sees, in a list that every copy shares."""

    seen = []

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.seen.append((epoch, dict(logs), self.model.get_weights()[0].copy()))


def test_a_callback_sees_logs_and_weights_at_every_epoch_end(data):
    X, y = data
    Recorder.seen.clear()
    callback = Recorder()
    model = MLPKerasRegressor(**SMALL, callbacks=[callback], metrics=["mae"], epochs=3)
    model.fit(X, y)
    assert [epoch for epoch, _, _ in Recorder.seen] == [0, 1, 2]
    assert [logs["mae"] for _, logs, _ in Recorder.seen] == model.history_["mae"]
    weights = [weights for _, _, weights in Recorder.seen]
    assert np.abs(weights[0] - weights[1]).max() > 0
    np.testing.assert_array_equal(weights[-1], model.model_.get_weights()[0])
    assert callback.epochs == []
    assert callback.model is None


@pytest.mark.parametrize("in_fit", [True, False])
def test_keras_callbacks_in_the_constructor_and_in_fit(data, in_fit, tmp_path):
    X, y = data
    callbacks = [
        keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e6),
        keras.callbacks.ModelCheckpoint(tmp_path / "model.keras"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.ReduceLROnPlateau("loss"),
        keras.callbacks.TensorBoard(tmp_path / "logs"),
    ]
    model = MLPKerasRegressor(**SMALL, callbacks=None if in_fit else callbacks)
    model.fit(X, y, callbacks=callbacks if in_fit else None)
    assert model.n_iter_ == 2
    assert model.engine_ == "numpy"
    assert (tmp_path / "model.keras").exists()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    assert (tmp_path / "logs" / "train").is_dir()


def test_stopping_by_hand_and_by_schedule(data):
    X, y = data

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 / (1 + epoch))
    model = MLPKerasRegressor(**SMALL, callbacks=[Stop(), rates]).fit(X, y)
    assert model.n_iter_ == 2
    assert model.history_["learning_rate"] == pytest.approx([0.1, 0.05])


def test_a_callback_for_every_batch_is_trained_by_keras(data):
    X, y = data
    batches = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: batches.append(batch)
    )
    with_batches = MLPKerasRegressor(**SMALL, epochs=2, callbacks=[callback]).fit(X, y)
    assert with_batches.engine_ == "keras"
    assert len(batches) == 2 * 14
    # The same steps on the same rows as without the callback.
    without = MLPKerasRegressor(**SMALL, epochs=2).fit(X, y)
    assert without.engine_ == "numpy"
    np.testing.assert_allclose(with_batches.predict(X), without.predict(X), rtol=1e-4)


def test_monitoring_a_score(data):
    X, y = data
    labels = y > np.median(y)
    model = MLPKerasClassifier(
        **SMALL, metrics=["accuracy"], monitor="val_accuracy", early_stopping=True
    ).fit(X, labels)
    assert model.best_epoch_ == np.argmax(model.history_["val_accuracy"])
