"""What a fit reports: the history of its epochs, the best of them, divergence."""

import numpy as np


def joined(before, history):
    """Return the history of a fit that went on, behind that of the fits before.

    An epoch that did not report a value has NaN in its place.
    """
    past = [np.nan] * len(before["loss"])
    new = [np.nan] * max(map(len, history.values()), default=0)
    return {
        name: [*before.get(name, past), *history.get(name, new)]
        for name in {**before, **history}
    }


def best_epoch(values, direction):
    """Return the number of the epoch with the greatest ("max") or least value.

    None where there are no epochs, as after a restart of a fit that was complete.
    """
    if not len(values):
        return None
    values = np.array(values)
    rises = direction == "max"
    worst = -np.inf if rises else np.inf
    values = np.where(np.isfinite(values), values, worst)
    return int(np.argmax(values) if rises else np.argmin(values))


def divergence_text(epoch, was_finite, learning_rate, has_unit):
    """Return what to tell of a fit that diverged, and what to do about it.

    Parameters
    ----------
    epoch : int
        Number of the epoch, from 0.
    was_finite : bool
        Whether an epoch before it ended well.
    learning_rate : float
    has_unit : bool
        Whether the target may be normalised.
    """
    outcome = (
        "Training stopped; weights from before it were kept."
        if was_finite
        else "No epoch of this fit ended well before it."
    )
    return (
        "The training loss or a weight became infinite or NaN in epoch "
        f"{epoch + 1}. {outcome} Try a smaller learning_rate "
        f"(it is {learning_rate:.6g}), "
        "optimizer_kwargs={'clipnorm': 1.0}, X on one scale (StandardScaler)"
        + (", or normalize_y='auto'." if has_unit else ".")
    )
