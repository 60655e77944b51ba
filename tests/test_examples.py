"""Each example runs as a script, without warnings, and what it claims holds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from skann import datasets
from skann._runtime.chatter import passed_on

EXAMPLES = Path(__file__).parent.parent / "examples"

# Warnings are errors in the examples too, and in the processes that they start. The
# exceptions are those of pyproject.toml: Keras and NumPy 2, when files are written, and
# workers that start tensorflow.
WARNINGS = (
    "error,ignore:__array__ implementation doesn't accept a copy:DeprecationWarning,"
    "ignore:A worker stopped while some jobs were given to the executor:UserWarning"
)
SETTINGS = {"PYTHONWARNINGS": WARNINGS, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(name, **environment):
    """Run an example in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        env={**os.environ, **SETTINGS, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # Some import Keras by themselves, before skann can keep tensorflow quiet.
    assert not b"".join(passed_on([done.stderr.encode()]))
    return done.stdout


def number(printed, before):
    """Return the number which is printed after a text."""
    found = re.search(re.escape(before) + r"\s*(-?[\d.]+(e-?\d+)?)", printed)
    assert found, f"{before!r} and a number are not in\n{printed}"
    return float(found[1])


def written(*names):
    return all((EXAMPLES / "output" / name).stat().st_size > 0 for name in names)


def test_california_housing():
    printed = run("california_housing.py")
    assert len(re.findall(r"\[CV \d/3\] END", printed)) == 30
    assert 0 <= number(printed, "network__n_hidden") <= 3
    assert 1 <= number(printed, "network__n_neurons") <= 99
    assert 3e-4 <= number(printed, "network__learning_rate") <= 3e-2
    assert number(printed, "Test MSE:") <= 0.30
    assert number(printed, "Test R2:") >= 0.77
    assert "loaded in a fresh process: equal predictions" in printed
    assert written("california_housing.joblib", "california_housing.png")


def test_perceptron_to_mlp():
    printed = run("perceptron_to_mlp.py")
    assert number(re.search("OR, one.*", printed)[0], "accuracy") >= 0.95
    assert number(re.search("XOR, one.*", printed)[0], "accuracy") <= 0.8
    assert number(re.search("XOR, two.*", printed)[0], "accuracy") >= 0.95
    assert written("perceptron_to_mlp.png")


def test_regression():
    printed = run("regression.py")
    assert number(printed, "R2 on the test set:") >= 0.75
    assert number(printed, "the best was") < number(printed, "Trained for")
    rates = re.findall(r"R2 on the test set\s+(-?[\d.]+)", printed)
    low, *_, high = scores = [float(rate) for rate in rates]
    assert len(scores) == 5
    assert max(scores) > max(low, high)
    assert written("regression.png")


def test_fashion_mnist():
    if datasets._find_fashion_mnist() is None:
        pytest.skip(datasets._not_found_message())
    printed = run("fashion_mnist.py")
    assert "X_test: (10000, 28, 28)" in printed
    assert number(printed, "Test accuracy:") >= 0.88
    assert written("fashion_mnist_confusion.png", "fashion_mnist_mistakes.png")


def test_fashion_mnist_steps_aside(tmp_path):
    if Path("/usr/share/datasets/fashion-mnist").exists():
        pytest.skip("Fashion-MNIST is where nothing can hide it from the example.")
    nowhere = {"SKANN_DATA_HOME": "", "KERAS_HOME": str(tmp_path)}
    # No proxy listens there: a download fails at once, whatever the network.
    proxies = dict.fromkeys(["http_proxy", "https_proxy"], "http://127.0.0.1:9")
    printed = run("fashion_mnist.py", **nowhere, **proxies, no_proxy="")
    assert "dataset-fashion-mnist" in printed
    assert "SKANN_DATA_HOME" in printed


def test_outputs_and_losses():
    printed = run("outputs_and_losses.py")
    lowest = dict(re.findall(r"(\w+) +gives.*: from\s+(\S+)", printed))
    assert float(lowest["None"]) < 0
    assert all(float(lowest[name]) >= 0 for name in ("relu", "softplus"))
    highest = dict(re.findall(r"(\w+) +gives.* to\s+(\S+), R2", printed))
    assert all(float(highest[name]) <= 5.01 for name in ("sigmoid", "tanh"))
    mse, mae, huber = (number(printed, f"\n  {n}") for n in ("mse", "mae", "huber"))
    assert mae < huber < mse / 2
    assert written("outputs_and_losses.png")


def test_save_and_stop():
    printed = run("save_and_stop.py")
    assert number(printed, "Stopped after") < 200
    assert number(printed, "Best epoch:") < number(printed, "Last epoch:")
    assert number(printed, "outputs from the predictions:") < 1e-4
    assert "Equal predictions in a fresh process: True" in printed
    assert "DivergenceError: " in printed
    assert "DivergenceWarning: " in printed
    assert number(printed, "weights it kept:") > 0
    assert written("checkpoint.keras", "network.joblib")


def test_tensorboard_runs():
    printed = run("tensorboard_runs.py")
    curves = re.findall(r"(0\.\d+) +(train|validation) +([\d. ]+)\n", printed)
    assert [(rate, part) for rate, part, _ in curves] == [
        ("0.001", "train"),
        ("0.001", "validation"),
        ("0.01", "train"),
        ("0.01", "validation"),
    ]
    for _, _, curve in curves:
        losses = [float(loss) for loss in curve.split()]
        assert len(losses) == 10
        assert losses[-1] < losses[0]


def test_search():
    printed = run("search.py")
    randomized, grid, halving = printed.split("\n\n")
    assert len(re.findall(r"R2 .*model__slope=", randomized)) == 6
    assert len(re.findall(r"R2 .*loss__delta=.*optimizer__momentum=", grid)) == 4
    assert re.findall(r"(\d+) candidates, +(\d+) epochs", halving) == [
        ("9", "3"),
        ("3", "9"),
        ("1", "27"),
    ]


def test_learning_rate():
    printed = run("learning_rate.py")
    suggestion = number(printed, "Suggested learning rate:")
    assert number(printed, "diverges above:") == pytest.approx(2 * suggestion, rel=0.01)
    slow, slower, good = map(float, re.findall(r"after 8 epochs (\S+)", printed))
    assert good < slower < slow
    assert number(printed, '"auto" took') == suggestion
    assert written("learning_rate.png")


def test_every_example_is_tested():
    tests = {name.removeprefix("test_") for name in globals()}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tests
