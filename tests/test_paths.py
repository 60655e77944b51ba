"""Paths that a user gives, and what Keras says of an error, in one line."""

from pathlib import Path

import pytest

from skann._runtime.text import one_line
from skann._training.paths import checkpoint_path_of, path_of, run_directory


@pytest.mark.parametrize("given", ["a/b", Path("a/b"), "C:x", "a://b", "é {x}"])
def test_a_path_is_what_it_says(given):
    assert path_of(given, "p") == Path(given)


def test_a_tilde_is_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert path_of("~/a", "p") == Path("/home/me/a")
    assert path_of("a/~", "p") == Path("a/~")


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("a\0b", "^p=.* has a NUL"),
        ("gs://bucket/a", "^p='gs://bucket/a' .* is a URL"),
        ("~nobody-of-this-name/a", "^p=.* cannot be written"),
    ],
)
def test_what_is_no_path(given, match):
    with pytest.raises(ValueError, match=match):
        path_of(given, "p")


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.weights.h5"])
def test_the_ending_of_a_checkpoint_names_its_format(name):
    assert checkpoint_path_of(f"b/{name}") == Path("b") / name
    for bad in (f"b/{name}x", f"{name}/b", "keras"):
        with pytest.raises(ValueError, match=r"^checkpoint_path=.* must end in one of"):
            checkpoint_path_of(bad)


def test_each_run_has_a_directory_of_its_own(tmp_path):
    made = [run_directory(tmp_path / "a" / "b", "p") for _ in range(3)]
    assert len(set(made)) == 3
    assert all(path.is_dir() and path.parent == tmp_path / "a" / "b" for path in made)
    assert all(path.name.startswith("run-2") for path in made)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^p=.*file' cannot be written"):
        run_directory(tmp_path / "file", "p")


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("one\n  two\tthree ", "one two three"),
        ("\x1b[1mbold\x1b[0m", "bold"),
        ("It failed.\n\nArguments received by Dense.call():\n  x", "It failed."),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 497 + "..."),
    ],
)
def test_an_error_is_told_in_one_line(said, line):
    assert one_line(ValueError(said)) == line
