"""What each epoch of a Keras model reports."""

import keras
import numpy as np


def reported_by(model):
    """Return the names that each epoch reports, or None where nobody knows yet.

    Raises
    ------
    ValueError
        For a metric of several numbers.
    """
    if type(model).train_step is not keras.Model.train_step:
        return None  # Its logs are known only once it runs.
    if [metric.name for metric in model.metrics] == ["loss"]:
        return ["loss"]  # To have it computed would take 15 operations.
    results = model.get_metrics_result()
    for name, result in results.items():
        if np.ndim(result):
            raise ValueError(
                f"metrics must give one number each; {name!r} gives an array. "
                "(Some metrics of Keras take average='macro'.)"
            )
    return list(results)


def checks_of(names):
    """Return the callback, if any, that looks for names after the first epoch."""
    return [_Reported(names)] if names else []


class _Reported(keras.callbacks.Callback):
    """Raises where the first epoch, and what callbacks made of it, lacks a name.

    It goes after the user's callbacks, and before all that watch what they report.
    """

    def __init__(self, names):
        super().__init__()
        self._names = names

    def on_epoch_end(self, epoch, logs=None):
        """Look once."""
        missing = [name for name in self._names if name not in (logs or {})]
        self._names = []
        if missing:
            raise ValueError(
                f"monitor={missing[0]!r} was not reported by the first epoch, which "
                f"reported {sorted(logs or {})}, nor did a callback add it to the "
                "logs there."
            )
