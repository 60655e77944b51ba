"""What is monitored: whether an epoch reports it, and which way it goes."""

from skann._runtime import private
from skann._runtime.start import is_of_keras


def monitors(callbacks):
    """Return the names that Keras callbacks monitor."""
    return [
        c.monitor for c in callbacks if isinstance(getattr(c, "monitor", None), str)
    ]


def check_monitors(names, reported, has_validation, callbacks=()):
    """Raise ValueError for a monitored name which no epoch will report.

    Parameters
    ----------
    names : list of str
    reported : list of str or None
        What ``reported_by`` says.
    has_validation : bool
    callbacks : list of keras.callbacks.Callback, default=()
        Those of the fit. What a user's own puts in the logs shows when it runs.

    Returns
    -------
    list of str
        Names of which only the first epoch can tell.
    """
    if reported is None:
        return []
    available = {*reported, *(f"val_{name}" for name in reported if has_validation)}
    if any(is_of_keras(c, *_OF_RATES) for c in callbacks):
        available.add("learning_rate")
    missing = [name for name in names if name not in available]
    if missing and any(map(_may_add_to_logs, callbacks)):
        return missing
    for name in missing:
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
    return []


# These put the learning rate in the logs.
_OF_RATES = (
    "callbacks.LearningRateScheduler",
    "callbacks.ReduceLROnPlateau",
)


def _may_add_to_logs(callback):
    """Whether a callback has a hook of the user's at the end of an epoch."""
    if "on_epoch_end" in vars(callback):  # As of a LambdaCallback.
        return True
    hook = type(callback).on_epoch_end
    return not getattr(hook, "__module__", "").startswith(("keras.", "skann."))


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
    ways = [private.direction_of(m) for m in _flat(metrics) if m.name == name]
    return {"up": "max", "down": "min"}.get(ways[-1] or "") if ways else None


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


def check_callbacks(callbacks, metrics):
    """Raise ValueError where a callback cannot tell which way what it watches goes.

    Keras does so when the first epoch has ended.

    Parameters
    ----------
    callbacks : list of keras.callbacks.Callback
    metrics : list of keras.metrics.Metric
        Those of the model, built.
    """
    is_told = {m.name: private.direction_of(m) is not None for m in _flat(metrics)}
    is_told["loss"] = True
    for callback in callbacks:
        # Keras has no public class for these.
        if not is_of_keras(callback, *_WATCH) or callback.monitor_op is not None:
            continue
        is_unset = callback.mode not in ("min", "max")
        if is_unset and not is_told.get(callback.monitor.removeprefix("val_"), True):
            raise ValueError(
                f"callbacks has {type(callback).__name__}(monitor={callback.monitor!r})"
                ", which may be better when it rises or when it falls: Keras does not "
                "know of this metric which. Give it mode='max' or mode='min'."
            )


_WATCH = (
    "callbacks.EarlyStopping",
    "callbacks.ModelCheckpoint",
    "callbacks.ReduceLROnPlateau",
)
