"""Checkpoint files: one holder at a time, whole files, full disks, odd paths."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from names import named
from sklearn.base import clone

import skann._training.claim
from skann import MLPKerasRegressor
from skann._training.checkpoint import Checkpoint, as_bytes
from skann._training.claim import Claim, Taken

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ np.array([1.0, 2.0, 3.0])
ENDINGS = (".keras", ".h5", ".weights.h5")


def regressor(**params):
    small = {"n_hidden": 1, "n_neurons": 4, "epochs": 3, "random_state": 0}
    return MLPKerasRegressor(**{**small, "monitor": "loss", **params})


# -- the claim ------------------------------------------------------------------------

RACER = """
import importlib.util, os, sys, time

spec = importlib.util.spec_from_file_location("claim", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
held = sys.argv[2] + ".held"
until, times = time.monotonic() + 2, 0
while time.monotonic() < until:
    claim = module.Claim(sys.argv[2])
    try:
        claim.take()
    except module.Taken:
        continue
    os.close(os.open(held, os.O_CREAT | os.O_EXCL))  # Fails if another holds it.
    claim.write(sys.argv[3].encode() * 1000)
    os.remove(held)
    claim.give_up()
    times += 1
print(times)
"""


def test_a_claim_has_one_holder_in_a_race_of_processes(tmp_path):
    path = tmp_path / "best.keras"
    command = [sys.executable, "-c", RACER, skann._training.claim.__file__, str(path)]
    racers = [
        subprocess.Popen(
            [*command, str(i)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(5)
    ]
    ended = [racer.communicate(timeout=60) for racer in racers]
    assert [error for _, error in ended] == [""] * 5
    assert sum(int(times) for times, _ in ended) > 20
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    text = path.read_text()
    assert text == text[0] * 1000


def test_two_ways_to_one_file_are_one_claim(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "link.keras").symlink_to("real/best.keras")
    first = Claim(tmp_path / "real" / "best.keras")
    first.take()
    for path in ("link/best.keras", "link.keras", "real/../real/best.keras"):
        with pytest.raises(Taken):
            Claim(tmp_path / path).take()
    first.give_up()
    assert not list((tmp_path / "real").iterdir())


@pytest.mark.parametrize("code", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_without_locks(code, tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(getattr(errno, code), "no locks here")

    monkeypatch.setattr(skann._training.claim.fcntl, "flock", flock)
    path = tmp_path / "best.keras"
    other = Claim(path)  # Nobody can know of it; files are whole all the same.
    other.take()
    regressor(checkpoint_path=path).fit(X, Y)
    other.give_up()
    assert [p.name for p in tmp_path.iterdir()] == ["best.keras"]
    keras.models.load_model(path)


def test_a_lock_that_fails_otherwise_is_told(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(skann._training.claim.fcntl, "flock", flock)
    with pytest.raises(ValueError, match=r"checkpoint_path=.*broken"):
        regressor(checkpoint_path=tmp_path / "best.keras").fit(X, Y)


def test_a_link_in_the_place_of_the_claim_is_not_followed(tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "file").write_text("precious")
    (tmp_path / ".best.keras.writing").symlink_to("others")
    with pytest.raises(ValueError, match=r"checkpoint_path=.*is a link"):
        regressor(checkpoint_path=tmp_path / "best.keras").fit(X, Y)
    assert [p.name for p in (tmp_path / "others").iterdir()] == ["file"]


# -- the file -------------------------------------------------------------------------


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, done = tmp_path / "best.weights.h5", []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(file):
        done.append("directory" if os.path.isdir(f"/proc/self/fd/{file}") else "file")
        real_sync(file)

    def replace(source, target):
        done.append("name")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    regressor(checkpoint_path=path, checkpoint_save_best_only=False, epochs=2).fit(X, Y)
    assert done == ["file", "name", "directory"] * 2


FULL_DISK = """
import resource, signal, sys
import numpy as np
from skann import MLPKerasRegressor

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
X = np.random.default_rng(0).normal(size=(40, 3))
paths = [{"checkpoint_path": f"{sys.argv[1]}/best{e}"} for e in sys.argv[2:]]
for path in [*paths, {"tensorboard_dir": sys.argv[1] + "/logs"}]:
    model = MLPKerasRegressor(n_hidden=1, n_neurons=2000, monitor="loss", **path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        model.fit(X, X[:, 0])
    except OSError as error:
        print(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not hasattr(model, "history_")
"""


def test_full_disk(tmp_path):
    pytest.importorskip("resource")  # A file's greatest size stands for the disk's.
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), *ENDINGS],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    *checkpoints, logs = ran.stdout.splitlines()
    for ending, error in zip(ENDINGS, checkpoints, strict=True):
        path = tmp_path / f"best{ending}"
        assert error.startswith(
            f"checkpoint_path={str(path)!r} could not be written in epoch 1: "
        )
    assert logs.startswith(f"tensorboard_dir='{tmp_path}/logs' could not be written: ")
    assert [p.name for p in tmp_path.iterdir()] == ["logs"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adafactor", "ftrl"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_what_keras_writes_and_changes_nothing(
    optimizer, ending, tmp_path
):
    model = regressor(optimizer=optimizer, engine="keras").fit(X, Y).model_
    config = dict(model._compile_config.config)
    path = tmp_path / f"best{ending}"
    path.write_bytes(as_bytes(model, path.name))
    assert model._compile_config.config == config
    if ending == ".weights.h5":
        kept = keras.models.clone_model(model)
        kept.load_weights(path)
    else:
        kept = keras.models.load_model(path)
        assert type(kept.optimizer) is type(model.optimizer)
    if ending == ".keras":  # Of an .h5 file Keras reads no optimizer's state.
        for a, b in zip(
            kept.optimizer.variables, model.optimizer.variables, strict=True
        ):
            np.testing.assert_array_equal(a, b)
    for a, b in zip(kept.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("save_best_only", [True, False])
@pytest.mark.parametrize("direction", ["min", "max"])
def test_which_epochs_are_written(save_best_only, direction, tmp_path):
    written = []
    checkpoint = Checkpoint(tmp_path / "a.h5", "score", direction, save_best_only)
    checkpoint._claim.write = written.append
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    checkpoint.set_model(model)
    scores = [np.nan, 1.0, 3.0, 2.0, np.nan, 0.5, 4.0]
    best = {"min": [0, 1, 5], "max": [0, 1, 2, 6]}[direction]
    seen = []
    for epoch, score in enumerate(scores):
        before = len(written)
        checkpoint.on_epoch_end(epoch, {"loss": 1.0, "score": score})
        seen += [epoch] * (len(written) - before)
    assert seen == (best if save_best_only else list(range(7)))
    checkpoint.on_epoch_end(7, {"loss": np.nan, "score": 9.0})
    assert len(written) == len(seen)


# -- paths ----------------------------------------------------------------------------


class Home(os.PathLike):
    """A path-like of the user's own."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


@pytest.mark.parametrize("kind", [str, Path, Home])
def test_home(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = regressor(
        checkpoint_path=kind("~/a/x.keras"), tensorboard_dir=kind("~/logs")
    ).fit(X, Y)
    assert model.checkpoint_path_ == str(tmp_path / "a" / "x.keras")
    assert model.tensorboard_dir_.startswith(str(tmp_path / "logs"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "logs"]
    path = Path(clone(model).fit(X, Y).checkpoint_path_)
    assert path.parent.parent == tmp_path / "a"


@pytest.mark.parametrize("parameter", ["checkpoint_path", "tensorboard_dir"])
@pytest.mark.parametrize(
    "path",
    [
        "a\0b.keras",
        Path("a\0b.keras"),
        Home("a\0b.keras"),
        Home(b"a.keras"),
        "~nobody-of-this-name/a.keras",
        "gs://bucket/a.keras",
    ],
    ids=named,
)
def test_what_is_no_path_here(parameter, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = regressor(**{parameter: path})
    with pytest.raises(ValueError, match=rf"^{parameter}=[^\n\0]*$"):
        model.fit(X, Y)
    assert not hasattr(model, "history_")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fraction", [None, "auto"])
def test_what_writes_every_epoch_watches_nothing(fraction, tmp_path):
    model = regressor(
        checkpoint_path=tmp_path / "last.keras",
        checkpoint_save_best_only=False,
        monitor="val_loss",
        validation_fraction=fraction,
    ).fit(X, Y)
    assert list(model.history_) == ["loss"]  # No row is held out.
    assert os.path.exists(tmp_path / "last.keras")
