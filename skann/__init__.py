"""Keras networks as scikit-learn estimators, at compiled speed."""

from skann._runtime import start as _start

_start.check_backend()

from skann._estimators.classifier import MLPKerasClassifier  # noqa: E402
from skann._estimators.regressor import MLPKerasRegressor  # noqa: E402

__all__ = ["MLPKerasClassifier", "MLPKerasRegressor", "__version__"]
__version__ = "0.1.0"
