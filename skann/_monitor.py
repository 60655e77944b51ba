"""What is monitored: whether an epoch reports it, and which way it goes."""

import keras
import numpy as np


def monitors(callbacks):
    """Return the names that Keras callbacks monitor."""
    return [
        c.monitor for c in callbacks if isinstance(getattr(c, "monitor", None), str)
    ]


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


def check_monitors(names, reported, has_validation):
    """Raise ValueError for a monitored name which no epoch will report."""
    if reported is None:
        return
    available = {*reported, *(f"val_{name}" for name in reported if has_validation)}
    for name in names:
        if name in available:
            continue
        if name.startswith("val_") and name.removeprefix("val_") in available:
            raise ValueError(
                f"monitor={name!r} needs a validation set, and there is none: set "
                f"validation_fraction, give X_val and y_val, or monitor "
                f"{name.removeprefix('val_')!r}."
            )
        raise ValueError(
            f"monitor={name!r} is not reported by this fit, which reports "
            f"{sorted(available)}."
        )


def direction_of(monitor, mode, metrics):
    """Return "min" or "max", whichever is better of a monitored name, or None.

    Parameters
    ----------
    monitor : str
    mode : {"auto", "min", "max"}
        What the user says; with "auto" losses fall, and a metric goes where Keras has
        it go.
    metrics : list of keras.metrics.Metric
        Those of the model, built.

    Returns
    -------
    {"min", "max"} or None
        None where Keras does not know: for a function, or a class of the user's own.
    """
    if mode != "auto":
        return mode
    name = monitor.removeprefix("val_")
    if name == "loss":
        return "min"
    # Keras' callbacks decide by this attribute too; nothing public has it.
    ways = [getattr(m, "_direction", None) for m in _flat(metrics) if m.name == name]
    return {"up": "max", "down": "min"}.get(ways[-1]) if ways else None


def _flat(metrics):
    """Yield single metrics; Keras gathers those given to ``compile`` in one."""
    for metric in metrics:
        yield from getattr(metric, "metrics", [metric])


def check_direction(monitor, direction):
    """Raise ValueError where nobody knows which way a monitored name goes."""
    if direction is None:
        raise ValueError(
            f"monitor={monitor!r} may be better when it rises or when it falls: Keras "
            "does not know of this metric which. Set monitor_mode='max' or "
            "monitor_mode='min'."
        )
