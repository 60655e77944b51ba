import re
import subprocess
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

import skann

ROOT = Path(__file__).parent.parent


def commands(path, first="python3 -m venv .venv"):
    """Return the lines of a file which set up an environment and do something in it."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip().startswith(first)]


def test_readme_opens_with_two_commands():
    job, tests = commands("README.md")
    assert job.endswith("examples/california_housing.py")
    assert re.search(r"\.venv/bin/pytest\b", tests)


def test_ci_runs_the_test_command_of_the_readme():
    assert commands(".ci/run") == commands("README.md")[1:]


def test_version():
    assert skann.__version__ == version("skann")


def test_package_has_its_data_and_is_typed():
    package = files("skann")
    assert (package / "py.typed").is_file()
    assert (package / "data" / "california_housing.csv.gz").is_file()
    assert (package / "data" / "california_housing.rst").is_file()


@pytest.mark.parametrize("leaf", ["datasets", "plotting"])
def test_a_leaf_imports_neither_tensorflow_nor_matplotlib(leaf):
    # The module alone, as if the package's __init__ were empty.
    code = f"""
import sys, types
skann = sys.modules["skann"] = types.ModuleType("skann")
skann.__path__ = [{str(ROOT / "skann")!r}]
import skann.{leaf}
heavy = {{"keras", "tensorflow", "matplotlib"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# That it stays on where it is on: test_guest.
def test_importing_leaves_garbage_collection_off():
    code = """
import gc
gc.disable()
import skann
assert not gc.isenabled()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
