"""A good guest: what `import skann` and its use leave of the process as it was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from skann._runtime import chatter, quiet, start

TESTS = Path(__file__).parent

DATE = b"I0000 00:00:1795635865.871167   10869 "
CHATTER = b"".join(
    [
        b"WARNING: All log messages before absl::InitializeLog() is called are "
        b"written to STDERR\n",
        DATE + b"port.cc:153] oneDNN custom operations are on. You may see slightly\n",
        DATE + b"cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU "
        b"will not be used.\n",
        b"2026-01-01 10:11:12.131415: E external/local_xla/xla/stream_executor/cuda/"
        b"cuda_dnn.cc:467] Unable to register cuDNN factory: Attempting to register\n",
    ]
)
OTHERS = [
    b"cuda_ and oneDNN and computation_placer of mine\n",
    DATE + b"mine.cc:1] oneDNN custom operations are off\n",
    b"WARNING: All is well\n",
    b"F0000 00:00:1795635865.871167   1 parse.cc:234] Unknown flag in TF_XLA_FLAGS\n",
    b"no end of line",
    b"\rbar 10%\rbar 20%",
    b"\xff\x00\n\n",
    b"2026-01-01",
]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_only_the_start_up_lines_are_left_out(other, size):
    text = CHATTER + other
    if other.endswith(b"\n"):
        text += CHATTER
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    assert b"".join(chatter.passed_on(pieces)) == other


@pytest.mark.parametrize("other", OTHERS[:1] + OTHERS[2:6])
def test_what_others_write_is_passed_on_at_once(other):
    def pieces():
        yield other
        seen.append(b"".join(out))
        yield b"more"

    out, seen = [], []
    for text in chatter.passed_on(pieces()):
        out.append(text)
    assert seen == [other]


def bare(code, **environment):
    """Run code in a new process that knows `quiet`, without the rest of skann."""
    begin = f"import sys; sys.path.insert(0, {str(Path(quiet.__file__).parent)!r})\n"
    return subprocess.run(
        [sys.executable, "-c", begin + code],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_an_abort_shows_its_reason():
    ended = bare("""
import os
from quiet import without_chatter
with without_chatter():
    os.write(2, b"I0000 00:00:1795635865.871167 1 port.cc:1] oneDNN custom operations ")
    os.write(2, b"are on. You may\\nFatal: no AVX")
    os.abort()
""")
    assert ended.returncode < 0
    assert ended.stderr == b"Fatal: no AVX"


def test_standard_error_is_put_back():
    ended = bare("""
import os, sys
from quiet import without_chatter
before = os.fstat(2), os.listdir("/proc/self/fd") if os.path.isdir("/proc") else 0
for executable in (sys.executable, "/usr/bin/program", "", None, "/no/python"):
    sys.executable = executable
    with without_chatter():
        print(executable, file=sys.stderr)
assert before == (os.fstat(2), os.listdir("/proc/self/fd") if before[1] else 0)
os.close(2)
with without_chatter():
    pass
""")
    assert ended.returncode == 0, ended.stderr
    told = [sys.executable, "/usr/bin/program", "", "None", "/no/python"]
    assert ended.stderr.decode().splitlines() == told


@pytest.mark.parametrize("where", ["environment", "keras.json"])
def test_another_backend_is_refused_in_one_line(where, tmp_path, monkeypatch):
    if where == "environment":
        monkeypatch.setenv("KERAS_BACKEND", "jax")
    else:
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    ended = subprocess.run(
        [sys.executable, "-c", "import skann"], capture_output=True, text=True
    )
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ImportError: skann needs Keras on tensorflow, and Keras is")
    assert "'jax'" in last
    assert "KERAS_BACKEND=tensorflow" in last


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"backend": "tensorflow"}'])
def test_a_configuration_of_keras_is_read_as_keras_does(text, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(text)
    start.check_backend()


# What skann stands on leaves marks of its own.
# In the order in which skann imports them: it decides that of warning filters.
LIBRARIES = ["sklearn.callback", "sklearn.model_selection", "scipy.linalg", "joblib"]
LIBRARIES += ["tensorflow", "keras"]


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    """Return three snapshots: without skann, with it imported, and with it used."""

    def snapshots(*modules):
        home = tmp_path_factory.mktemp("home")
        for name in ("temporary", "cache"):
            (home / name).mkdir()
        places = {"HOME": home, "TMPDIR": home / "temporary"}
        places["SKANN_CACHE_DIR"] = home / "cache"
        settings = {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
        run = subprocess.run(
            [sys.executable, TESTS / "marks.py", *modules],
            # The text of paths, and of hashes, is part of what is compared.
            env={**os.environ, **places, **settings},
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        told = run.stdout.replace(str(home), "HOME")
        return [json.loads(line) for line in told.splitlines()], run.stderr

    (without,), _ = snapshots(*LIBRARIES)
    (imported, used), said = snapshots("skann", *LIBRARIES)
    # They import Keras by themselves, before skann can keep tensorflow quiet.
    assert not b"".join(chatter.passed_on([said.encode()]))
    return without, imported, used


PARTS = ["environment", "directory", "garbage", "signals", "system", "warnings"]
PARTS += ["loggers", "random", "keras", "threads", "open files", "files"]


@pytest.mark.parametrize("part", PARTS)
def test_an_import_and_its_use_leave_no_mark(marks, part):
    without, imported, used = (snapshot[part] for snapshot in marks)
    assert imported == without
    if part == "files":
        used = [path for path in used if not path.startswith("cache/skann-")]
    assert used == without


def test_an_import_and_its_use_change_no_module(marks):
    without, imported, used = (snapshot["modules"] for snapshot in marks)
    assert len(without) > 1000
    changed = [
        (module, name, held, there[module][name])
        for there in (imported, used)
        for module, parts in without.items()
        for name, held in parts.items()
        if there[module].get(name) != held
    ]
    assert changed == []
