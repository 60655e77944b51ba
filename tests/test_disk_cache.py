"""The disk cache: shared between processes, private, bounded, and never in the way."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from skann import MLPKerasRegressor
from skann._runtime import disk_cache, private_files
from skann._training import work
from skann._training.graph.cache import PROGRAMS

# What each process says: for each width what it predicts and reports, as a number.
FIT = """
import hashlib, sys
import numpy as np
from skann._runtime import start
from skann._training import work
start.load()
import skann._runtime.disk_cache as cache
work.STEPS_WORTH_COMPILING = 0
from skann import MLPKerasRegressor
X = np.random.default_rng(0).normal(size=(600, 5))
for what in sys.argv[1:]:
    if what == "damage":
        for path in cache._directory.glob("*.pb"):
            path.write_bytes(b"rubbish")
        continue
    model = MLPKerasRegressor(
        n_hidden=1, n_neurons=int(what), epochs=2, early_stopping=True, dropout=0.1,
        dtype="float32", random_state=0, activation="sigmoid", metrics=["mae"],
    )
    told = model.fit(X, X[:, 0]).predict(X).tobytes() + repr(model.history_).encode()
    print(what, hashlib.sha256(told).hexdigest())
"""


def started(place, *what, cwd=None, **environment):
    """Start a process that fits networks of these widths, one after the other."""
    return subprocess.Popen(
        [sys.executable, "-c", FIT, *map(str, what)],
        env={**os.environ, "SKANN_CACHE_DIR": str(place), **environment},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Return what a process has told of each width."""
    told, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors == ""
    return dict(line.split() for line in told.splitlines())


def entries(place):
    return sorted(Path(place).glob("*/*.pb"))


def written(place):
    """Return when each entry was written."""
    return {path: path.stat().st_mtime_ns for path in entries(place)}


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


DAMAGES = [truncate, fill_with_rubbish, flip_bits, Path.unlink]


class Story:
    """Three processes with one cache, and damage after the first and in the last."""

    def __init__(self, place):
        self.place = place
        self.first = ended(started(place, 20, 21, 22))
        self.modes = {path: mode(path) for path in [place, *place.rglob("*")]}
        self.whole = written(place)
        # Each damage has an entry of its own; the last two entries stay whole.
        self.damaged = dict(zip(DAMAGES, self.whole, strict=False))
        for damage, path in self.damaged.items():
            self.whole.pop(path)
            damage(path)
        damaged = written(place)
        # Whatever else was fitted before, under other names and numbers.
        self.second = ended(started(place, 30, 20, 21, 22))
        self.mended = written(place)
        self.written = {p for p in self.mended if self.mended[p] != damaged.get(p)}
        self.third = ended(started(place, 22, 21, 20, "damage", 30))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    return Story(tmp_path_factory.mktemp("cache") / "programs")


def test_a_process_finds_what_another_compiled(story):
    assert len(story.whole) == 2
    assert story.whole.keys().isdisjoint(story.written)
    assert story.second.items() >= story.first.items()


def test_each_width_has_entries_to_train_and_to_validate(story):
    assert len(story.mended) == 2 * len(story.second)


def test_the_cache_is_private(story):
    (directory,) = story.place.iterdir()
    of_files = {m for path, m in story.modes.items() if path.suffix == ".pb"}
    assert story.modes[story.place] == story.modes[directory] == 0o700
    assert of_files == {0o600}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_entries_are_compiled_again(story, damage):
    assert story.damaged[damage] in story.written
    assert story.second.items() >= story.first.items()
    # What was written instead is read.
    assert story.third.items() >= story.first.items()


def test_entries_damaged_while_a_process_runs(story):
    assert story.third["30"] == story.second["30"]


def test_a_place_that_cannot_be_used_is_not_used(tmp_path, story):
    (tmp_path / "file").touch()
    # A file of flags, which tensorflow takes in the place of flags, is the user's.
    (tmp_path / "flags").write_text("--tf_xla_min_cluster_size=5")
    flags = {"TF_XLA_FLAGS": str(tmp_path / "flags")}
    told = ended(started(tmp_path / "file" / "cache", 20, **flags))
    assert told["20"] == story.first["20"]
    assert sorted(os.listdir(tmp_path)) == ["file", "flags"]


def test_two_processes_at_a_time_in_a_relative_place_with_blanks(tmp_path, story):
    place = tmp_path / "my cache"
    place.mkdir(0o755)
    runs = [started(".", 20, cwd=place) for _ in range(2)]
    assert [ended(run)["20"] for run in runs] == [story.first["20"]] * 2
    assert len(entries(place)) == 2


def test_each_processor_version_and_setting_has_its_own(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/somewhere")
    names = {disk_cache._kind_of_machine()}
    monkeypatch.delenv("XLA_FLAGS")
    names.add(disk_cache._kind_of_machine())
    assert len(names) == 1
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    names.add(disk_cache._kind_of_machine())
    monkeypatch.setattr(disk_cache, "_processor", lambda: "another")
    names.add(disk_cache._kind_of_machine())
    for package in ("tensorflow", "keras", "skann"):
        monkeypatch.setattr(
            disk_cache,
            "version",
            lambda name, package=package: "9" if name == package else "1",
        )
        names.add(disk_cache._kind_of_machine())
    assert len(names) == 6


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"HOME": "/h"}, "/h/.cache/skann"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/skann"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/skann"),
        ({"HOME": "/h", "SKANN_CACHE_DIR": "~/programs"}, "/h/programs"),
        ({"HOME": "/h", "SKANN_CACHE_DIR": ""}, "/h/.cache/skann"),
        ({"SKANN_CACHE_DIR": "."}, "."),
        ({"SKANN_CACHE_DIR": "my programs/.."}, "."),
        ({"SKANN_CACHE_DIR": "~nobody-of-this-name/x"}, None),
        ({"SKANN_CACHE_DIR": "off"}, None),
    ],
)
def test_where_it_lies(monkeypatch, environment, root):
    for name in ("SKANN_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert disk_cache._root() == (root and Path(root).absolute())


def test_there_may_be_no_home_directory(monkeypatch):
    def nobody(number):
        raise KeyError(number)

    for name in ("SKANN_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    assert disk_cache._root() is None


def test_there_may_be_no_working_directory(monkeypatch):
    def fail():
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setenv("SKANN_CACHE_DIR", ".")
    monkeypatch.setattr(os, "getcwd", fail)
    assert disk_cache._root() is None


def turned_on(monkeypatch, place):
    """Turn the cache on in this process, and return where it lies."""
    monkeypatch.setenv("SKANN_CACHE_DIR", str(place))
    monkeypatch.setattr(disk_cache, "_directory", None)
    disk_cache.turn_on()
    return disk_cache._directory


def test_nothing_is_cached_for_a_version_that_is_not_known(monkeypatch, tmp_path):
    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(disk_cache, "version", unknown)
    assert turned_on(monkeypatch, tmp_path / "cache") is None


@pytest.mark.parametrize(
    "flags",
    [
        "--tf_xla_persistent_cache_directory=/somewhere",
        "--tf_xla_persistent_cache_directory=",
        "--tf_xla_min_cluster_size=5 --tf_xla_persistent_cache_directory=",
        "/a/file/of/flags",
        " flags",
    ],
)
def test_settings_of_the_users_for_tensorflow_are_left_alone(
    monkeypatch, tmp_path, flags
):
    monkeypatch.setenv("TF_XLA_FLAGS", flags)
    assert turned_on(monkeypatch, tmp_path / "skann") is None
    assert os.environ["TF_XLA_FLAGS"] == flags
    assert compiled() is not None
    assert not (tmp_path / "skann").exists()


@pytest.mark.parametrize("flags", [None, "", "--tf_xla_min_cluster_size=5"])
def test_child_processes_inherit_no_setting(monkeypatch, tmp_path, flags):
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    if flags is not None:
        monkeypatch.setenv("TF_XLA_FLAGS", flags)
    assert turned_on(monkeypatch, tmp_path) is not None
    assert os.environ.get("TF_XLA_FLAGS") == flags


# -- in this process ------------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Where this process keeps its programs; nothing is there yet."""
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    return turned_on(monkeypatch, tmp_path / "cache")


def compiled():
    """Compile a new program as the engine does, and return its name."""

    def steps(x):
        return x * 2 + 1

    function = tf.function(steps, jit_compile=True, autograph=False)
    function = function.get_concrete_function(tf.TensorSpec((3,)))
    name = function.name.decode()
    with disk_cache.compiling(name):
        assert function(tf.ones(3)).numpy().tolist() == [3, 3, 3]
    return name


def programs(directory):
    return {name.partition(".")[0] for name in os.listdir(directory)}


def test_what_is_compiled_is_kept_and_read(cache):
    name = compiled()
    tag = (cache / "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")
    assert programs(cache) == {name, "CACHEDIR"}
    assert len(disk_cache._load(name)) == 1
    assert not disk_cache._load("another")
    # What tensorflow has in memory is forgotten when others are compiled.
    compiled()
    assert not disk_cache._all_in_memory()


def test_only_the_entry_that_fails_is_dropped(cache):
    good, bad = compiled(), compiled()
    assert not disk_cache.drop(bad)  # tensorflow was not given it.
    assert programs(cache) == {good, bad, "CACHEDIR"}
    with disk_cache.compiling(bad):
        assert disk_cache.drop(bad)
    assert programs(cache) == {good, "CACHEDIR"}


def lacking(input_shape):
    """Build a network with an operation that XLA lacks."""

    class Lacks(keras.layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.py_function(lambda z: z, [x], x.dtype), x.shape)

        def compute_output_shape(self, shape):
            return shape

    parts = [keras.Input(input_shape), Lacks(), keras.layers.Dense(1)]
    return keras.Sequential(parts)


def test_an_operation_that_xla_lacks_costs_no_entry(cache, monkeypatch):
    name = compiled()
    monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 0)
    X = np.random.default_rng(0).normal(size=(64, 2))
    model = MLPKerasRegressor(lacking, epochs=1).fit(X, X[:, 0])
    assert model.engine_ == "keras"
    assert programs(cache) == {name, "CACHEDIR"}


def test_files_of_others_stay(cache, monkeypatch):
    theirs = ["mymodel/saved_model.pb", "mymodel/skann__1__2__XLA.pb", "notes.pb"]
    theirs += [f"{cache.name}/notes.pb", f"{cache.name}/probe.1"]
    theirs += [f"skann-{'0' * 20}/steps.skann__1__2__XLA.pb"]
    compiled()
    for name in theirs:
        path = cache.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 1000)
        os.utime(path, (0, 0))
    monkeypatch.setattr(disk_cache, "MOST_BYTES", 0)
    name = compiled()
    disk_cache.drop(name)
    assert not list(cache.glob("*XLA_CPU_JIT.pb"))  # Of its own, all went.
    left = sorted(str(p.relative_to(cache.parent)) for p in cache.parent.rglob("*.*"))
    assert left == sorted([*theirs, f"{cache.name}/CACHEDIR.TAG"])


def test_the_oldest_entries_go_first(cache, monkeypatch):
    names = [compiled() for _ in range(3)]
    for age, name in enumerate(names):
        (path,) = cache.glob(f"{name}.*")
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(disk_cache, "MOST_BYTES", 3.5 * path.stat().st_size)
    left = [*names[:2], compiled()]
    assert programs(cache) == {*left, "CACHEDIR"}


def test_what_a_killed_process_left_goes_some_day(cache):
    name = compiled()
    (path,) = cache.glob(f"{name}.*")
    old, new = Path(f"{path}.0a.tmp"), Path(f"{path}.0b.tmp")
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    compiled()
    assert (old.exists(), new.exists()) == (False, True)


def open_to_all(cache, elsewhere):
    cache.parent.chmod(0o777)


def open_to_the_group(cache, elsewhere):
    cache.parent.chmod(0o770)


def a_link(cache, elsewhere):
    shutil.move(cache.parent, elsewhere)
    cache.parent.symlink_to(elsewhere)


def inside_open_to_all(cache, elsewhere):
    cache.chmod(0o777)


def inside_a_link(cache, elsewhere):
    shutil.move(cache, elsewhere)
    cache.symlink_to(elsewhere)


def inside_of_another_kind(cache, elsewhere):
    text = (cache / "CACHEDIR.TAG").read_text()
    (cache / "CACHEDIR.TAG").write_text(text.replace(cache.name, "skann-another"))


def inside_without_a_tag(cache, elsewhere):
    (cache / "CACHEDIR.TAG").unlink()


def entry_a_link(cache, elsewhere):
    (path,) = cache.glob("*.pb")
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def entry_open_to_all(cache, elsewhere):
    (path,) = cache.glob("*.pb")
    path.chmod(0o666)


def entry_a_pipe(cache, elsewhere):
    (path,) = cache.glob("*.pb")
    path.unlink()
    os.mkfifo(path)


DIRECTORIES = [open_to_all, open_to_the_group, a_link, inside_open_to_all]
DIRECTORIES += [inside_a_link, inside_of_another_kind, inside_without_a_tag]
ENTRIES = [entry_a_link, entry_open_to_all, entry_a_pipe]


def snapshot(root):
    """Return the modes and contents of all there is."""
    paths = [root, *sorted(root.rglob("*"))]
    return [
        (path, path.lstat().st_mode, path.is_file() and path.read_bytes())
        for path in paths
    ]


@pytest.mark.parametrize("change", DIRECTORIES + ENTRIES)
def test_what_others_can_change_is_not_used(cache, tmp_path, change):
    name = compiled()
    change(cache, tmp_path / "elsewhere")
    before = snapshot(tmp_path)
    assert not disk_cache._load(name)
    if change in DIRECTORIES:
        compiled()
    disk_cache.drop(name)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("part", ["root", "programs", "entry"])
def test_what_belongs_to_another_user_is_not_used(part, cache, monkeypatch, tmp_path):
    name, fstat, stat = compiled(), os.fstat, os.stat
    (entry,) = cache.glob("*.pb")
    parts = {"root": cache.parent, "programs": cache, "entry": entry}
    theirs = parts[part].stat().st_ino

    def told(status):
        fields = list(status)
        fields[4] += fields[1] == theirs  # The owner.
        return os.stat_result(fields)

    before = snapshot(tmp_path)
    monkeypatch.setattr(os, "fstat", lambda file: told(fstat(file)))
    monkeypatch.setattr(os, "stat", lambda *path, **how: told(stat(*path, **how)))
    assert not disk_cache._load(name)
    if part != "entry":
        compiled()
    disk_cache.drop(name)
    assert snapshot(tmp_path) == before


def test_what_is_put_in_its_place_while_it_is_read_is_not_seen(cache, monkeypatch):
    name, read = compiled(), private_files.read

    def swapped(*arguments):
        if cache.exists():
            cache.rename(cache.with_name("was"))
            cache.with_name("another").mkdir()
        return read(*arguments)

    monkeypatch.setattr(private_files, "read", swapped)
    assert len(disk_cache._load(name)) == 1
    assert not disk_cache._load(name)


def test_what_is_put_in_the_place_of_all_caches_is_not_seen(cache, monkeypatch):
    name, check, root = compiled(), private_files._check_own, cache.parent

    def swapped(*arguments):
        check(*arguments)
        if cache.exists():
            root.rename(root.with_name("was"))
            root.mkdir()

    monkeypatch.setattr(private_files, "_check_own", swapped)
    assert len(disk_cache._load(name)) == 1
    assert not disk_cache._load(name)


def full(cache, monkeypatch):
    def fail(*arguments, **directories):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)


def vanished(cache, monkeypatch):
    shutil.rmtree(cache.parent)
    cache.parent.touch()  # Nor can it be made anew.


@pytest.mark.parametrize("trouble", [full, vanished])
def test_programs_are_compiled_all_the_same(cache, monkeypatch, trouble):
    compiled()
    monkeypatch.setattr(work, "STEPS_WORTH_COMPILING", 0)
    X = np.random.default_rng(0).normal(size=(64, 2))
    how = {"epochs": 2, "dropout": 0.1, "random_state": 0}
    well = MLPKerasRegressor(**how).fit(X, X[:, 0])
    PROGRAMS.clear()
    trouble(cache, monkeypatch)
    before = set(cache.parent.rglob("*"))
    ill = MLPKerasRegressor(**how, verbose=1).fit(X, X[:, 0])
    assert well.engine_ == ill.engine_ == "compiled"
    assert np.array_equal(well.predict(X), ill.predict(X))
    assert set(cache.parent.rglob("*")) == before
