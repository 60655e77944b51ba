"""The disk cache: shared between processes, private, bounded, and never in the way."""

import os
import stat
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from skann import _disk_cache

FIT = """
import hashlib, sys
import numpy as np
import skann.training._program as program
program.STEPS_WORTH_COMPILING = 0
from skann import MLPKerasRegressor
X = np.random.default_rng(0).normal(size=(600, 5))
for width in map(int, sys.argv[1:]):
    model = MLPKerasRegressor(
        n_hidden=1, n_neurons=width, epochs=2, early_stopping=True, dropout=0.1,
        dtype="float32", random_state=0, activation="sigmoid", metrics=["mae"],
    )
    print(width, hashlib.sha256(model.fit(X, X[:, 0]).predict(X).tobytes()).hexdigest())
"""


def fits(place, *widths, check=True):
    """Fit networks of these widths in a fresh process; return what they predict."""
    env = {k: v for k, v in os.environ.items() if k != "TF_XLA_FLAGS"}
    run = subprocess.run(
        [sys.executable, "-c", FIT, *map(str, widths)],
        env={**env, "SKANN_CACHE_DIR": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    return sorted(run.stdout.splitlines())


def entries(place):
    return sorted(Path(place).glob("*/*.pb"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with the programs of one fit, and what that fit predicts."""
    place = tmp_path_factory.mktemp("cache") / "programs"
    return place, fits(place, 20)


def test_a_process_finds_what_another_compiled(filled):
    place, expected = filled
    before = {path: path.stat().st_mtime_ns for path in entries(place)}
    assert len(before) == 2  # To train, and to validate.
    # Whatever else was fitted before it, under other names and numbers.
    assert expected[0] in fits(place, 21, 20)
    assert {path: path.stat().st_mtime_ns for path in entries(place)}.items() >= (
        before.items()
    )
    assert len(entries(place)) == 4
    assert expected == fits("off", 20)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_cache_is_private(filled):
    place, _ = filled
    (directory,) = place.iterdir()
    assert mode(place) == mode(directory) == 0o700
    directory.chmod(0o777)
    # That of a directory which was there before is its owner's affair.
    place.chmod(0o755)
    fits(place, 20)
    assert (mode(place), mode(directory)) == (0o755, 0o700)


def truncate(path):
    path.write_bytes(path.read_bytes()[:1000])


def fill_with_rubbish(path):
    path.write_bytes(os.urandom(path.stat().st_size))


def flip_bits(path):
    """Damage what a parser would not notice."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle:][:64])
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [truncate, fill_with_rubbish, flip_bits, Path.unlink]
)
def test_damaged_entries_are_compiled_again(filled, damage):
    place, expected = filled
    for path in entries(place):
        damage(path)
    assert fits(place, 20) == expected
    assert len(entries(place)) >= 2
    assert fits(place, 20) == expected


DAMAGE_WHILE_RUNNING = """
import os, sys
import skann._disk_cache as cache
for path in cache._directory.glob("*.pb"):
    path.write_bytes(b"rubbish")
"""


def test_entries_damaged_while_a_process_runs(filled):
    place, expected = filled
    env = {k: v for k, v in os.environ.items() if k != "TF_XLA_FLAGS"}
    run = subprocess.run(
        [sys.executable, "-c", "import skann" + DAMAGE_WHILE_RUNNING + FIT, "20"],
        env={**env, "SKANN_CACHE_DIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == expected


@pytest.mark.parametrize("place", ["a file", "below a file", "with a blank"])
def test_a_place_that_cannot_be_used_is_not_used(tmp_path, filled, place):
    (tmp_path / "file").touch()
    path = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "cache",
        "with a blank": tmp_path / "my cache",
    }[place]
    assert fits(path, 20) == filled[1]
    assert not path.is_dir()


def test_two_processes_at_a_time(tmp_path):
    place = tmp_path / "cache"
    env = {k: v for k, v in os.environ.items() if k != "TF_XLA_FLAGS"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FIT, "22"],
            env={**env, "SKANN_CACHE_DIR": str(place)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 64


def test_the_oldest_entries_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(_disk_cache, "MOST_BYTES", 250)
    for age, name in enumerate(["new/c", "new/b", "old/a"]):
        path = tmp_path / f"{name}.pb"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 100)
        path.with_suffix(".crc32").write_text("x")
        os.utime(path, (1000 - age, 1000 - age))
    _disk_cache._drop_oldest(tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*"))
    assert left == ["new/b.crc32", "new/b.pb", "new/c.crc32", "new/c.pb"]


def test_each_processor_version_and_setting_has_its_own(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/somewhere")
    names = {_disk_cache._kind_of_machine()}
    monkeypatch.delenv("XLA_FLAGS")
    names.add(_disk_cache._kind_of_machine())
    assert len(names) == 1
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    names.add(_disk_cache._kind_of_machine())
    monkeypatch.setattr(_disk_cache, "_processor", lambda: "another")
    names.add(_disk_cache._kind_of_machine())
    for package in ("tensorflow", "keras", "skann"):
        monkeypatch.setattr(
            _disk_cache,
            "version",
            lambda name, package=package: "9" if name == package else "1",
        )
        names.add(_disk_cache._kind_of_machine())
    assert len(names) == 6


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"HOME": "/h"}, "/h/.cache/skann"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/skann"),
        ({"HOME": "/h", "SKANN_CACHE_DIR": "~/programs"}, "/h/programs"),
        ({"HOME": "/h", "SKANN_CACHE_DIR": "off"}, None),
    ],
    ids=["home", "XDG", "given", "off"],
)
def test_where_it_lies(monkeypatch, environment, root):
    for name in ("SKANN_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert _disk_cache._root() == (root and Path(root))


def test_nothing_is_cached_for_a_version_that_is_not_known(monkeypatch, tmp_path):
    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_disk_cache, "version", unknown)
    assert _disk_cache._private_directory(tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_the_user_gave_tensorflow_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("TF_XLA_FLAGS", f"{_disk_cache._SETTING}{tmp_path}/own")
    monkeypatch.setenv("SKANN_CACHE_DIR", str(tmp_path / "skann"))
    monkeypatch.setattr(_disk_cache, "_directory", None)
    _disk_cache.turn_on()
    assert os.environ["TF_XLA_FLAGS"] == f"{_disk_cache._SETTING}{tmp_path}/own"
    assert not (tmp_path / "skann").exists()
    assert not _disk_cache.discard()
