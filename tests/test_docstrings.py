"""Docstrings against code: defaults, and the text that both estimators share."""

import inspect
import re

import pytest

import skann
from skann import MLPKerasClassifier, MLPKerasRegressor
from skann.models import build_mlp

SECTION = re.compile(
    r"\n    Parameters\n    -+\n(.*?)\n    (?:Attributes|Returns)\n", re.S
)
ENTRY = re.compile(r"^    (\w[\w, ]*) : (.*?)\n((?:        .*\n|\n)+)", re.M)


def documented(obj):
    text = SECTION.search(obj.__doc__).group(1) + "\n"
    return {
        name.strip(): (kind, body)
        for names, kind, body in ENTRY.findall(text)
        for name in names.split(",")
    }


@pytest.mark.parametrize("obj", [MLPKerasRegressor, MLPKerasClassifier, build_mlp])
def test_documented_defaults_are_those_of_the_signature(obj):
    parameters = inspect.signature(obj).parameters
    described = documented(obj)
    assert described.keys() == parameters.keys()
    for name, (kind, _) in described.items():
        default = re.search(r"default=(.*)$", kind).group(1)
        assert eval(default) == parameters[name].default, name


def test_parameters_stand_in_the_order_of_the_signature():
    for cls in (MLPKerasRegressor, MLPKerasClassifier):
        assert list(documented(cls)) == list(inspect.signature(cls).parameters)


def test_both_estimators_describe_shared_parameters_alike():
    ours, theirs = documented(MLPKerasRegressor), documented(MLPKerasClassifier)
    differ = {n for n in ours.keys() & theirs.keys() if ours[n] != theirs[n]}
    assert differ == {"n_hidden", "output_activation", "loss", "validation"}
    assert ours.keys() - theirs.keys() == {"normalize_y"}
    assert theirs.keys() - ours.keys() == {"class_weight"}


def test_public_names_are_complete_and_sorted():
    assert skann.__all__ == sorted(skann.__all__)
    public = {
        name
        for name, thing in vars(skann).items()
        if getattr(thing, "__module__", "").startswith("skann")
    }
    assert public <= set(skann.__all__)
