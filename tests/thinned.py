"""Long tables of cases: some are ordinary tests, all others ``pytest -m slow`` runs."""

import pytest


def thinned(cases, ordinary):
    """Return cases, those that are not ordinary marked as slow.

    Parameters
    ----------
    cases : iterable
        Values or tuples of values for ``pytest.mark.parametrize``.
    ordinary : int or container
        Each n-th case from the first on is ordinary, or those in it.
    """
    return [
        case if _is_ordinary(i, case, ordinary) else _slow(case)
        for i, case in enumerate(cases)
    ]


def _is_ordinary(i, case, ordinary):
    return i % ordinary == 0 if isinstance(ordinary, int) else case in ordinary


def _slow(case):
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=pytest.mark.slow)
