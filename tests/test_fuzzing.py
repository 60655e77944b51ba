"""A hundred random fits by the engine and by Keras; `tests/fuzzing.py` runs more."""

import fuzzing
import pytest


@pytest.mark.parametrize("first", range(0, 100, 10))
def test_random_fits_are_those_of_keras(first):
    cases = fuzzing.run(first, 10)
    different = {seed: text for seed, _, text, _ in cases if text is not None}
    assert not different


def test_what_differs_is_found():
    case = list(fuzzing.Draw(3).case())
    ours = fuzzing.outcome(case, "auto")
    case[1] = {**case[1], "random_state": 1001}
    theirs = fuzzing.outcome(case, "keras")
    assert fuzzing._far("outputs", ours["outputs"], theirs["outputs"]) is not None


def test_the_cases_run_by_every_way():
    params = [fuzzing.Draw(seed).case() for seed in range(100)]
    assert sum(compiled for *_, compiled in params) > 20
    assert {then for *_, then, _ in params} == {"end", "warm", "partial", "pickle"}
