"""Keras networks as scikit-learn estimators, at compiled speed."""

from skann import _tensorflow

_tensorflow.check_backend()
with _tensorflow.one_collection():
    with _tensorflow.quiet_import():
        import tensorflow  # noqa: F401
    _tensorflow.set_up_xla()

    from skann._classifier import MLPKerasClassifier
    from skann._regressor import MLPKerasRegressor

__all__ = ["MLPKerasClassifier", "MLPKerasRegressor", "__version__"]
__version__ = "0.1.0"
