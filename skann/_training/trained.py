"""What became of a fit."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trained:
    """What became of a fit.

    Attributes
    ----------
    history : dict of list of float
    engine : {"numpy", "graph", "compiled", "keras"}
    diverged_epoch : int or None
        Number of the epoch, from 0, whose loss was NaN or infinite.
    is_finite : bool
        Whether the model has finite weights; it has not where the first epoch
        diverged.
    restored : int or None
        Position in ``history`` of the epoch whose weights early stopping put back.
    """

    history: dict[str, list[float]]
    engine: str
    diverged_epoch: int | None
    is_finite: bool
    restored: int | None
