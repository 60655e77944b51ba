"""scikeras, without what it changes of Keras. The only file that imports it."""

from contextlib import contextmanager

import keras

_CHANGED = (
    (keras.Model, "__reduce__"),
    (keras.Model, "__deepcopy__"),
    (keras.losses.Loss, "__reduce__"),
    (keras.metrics.Metric, "__reduce__"),
    (keras.optimizers.Optimizer, "__reduce__"),
)


@contextmanager
def _classes_of_keras_as_they_were():
    """Undo what scikeras does when it is imported: it says how Keras pickles.

    Where somebody has imported it before, he wants that, and nothing is undone.
    """
    before = [vars(cls).get(name) for cls, name in _CHANGED]
    try:
        yield
    finally:
        for (cls, name), own in zip(_CHANGED, before, strict=True):
            if own is not None:
                setattr(cls, name, own)
            elif name in vars(cls):
                delattr(cls, name)


with _classes_of_keras_as_they_were():
    from scikeras.wrappers import KerasClassifier, KerasRegressor

__all__ = ["KerasClassifier", "KerasRegressor"]
