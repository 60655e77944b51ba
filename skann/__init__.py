"""Keras networks as scikit-learn estimators, at compiled speed."""

from skann._runtime import start

start.check_backend()
with start.one_collection():
    with start.quiet_import():
        import tensorflow  # noqa: F401
    start.set_up_xla()

    from skann._estimators.classifier import MLPKerasClassifier
    from skann._estimators.regressor import MLPKerasRegressor

__all__ = ["MLPKerasClassifier", "MLPKerasRegressor", "__version__"]
__version__ = "0.1.0"
