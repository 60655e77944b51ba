"""scikit-learn's own checks of an estimator: all of them, at default settings."""

import os
import subprocess
import sys

from sklearn.utils.estimator_checks import parametrize_with_checks

from skann import MLPKerasClassifier, MLPKerasRegressor


@parametrize_with_checks([MLPKerasRegressor(), MLPKerasClassifier()])
def test_scikit_learns_check(estimator, check):
    check(estimator)


def test_the_check_that_is_skipped_above():
    # SciPy reads SCIPY_ARRAY_API when it is imported, so in a process of its own.
    only = ["-q", "-k", "check_array_api_input", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *only, __file__],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
