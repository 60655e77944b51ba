"""Types in the signatures of what users call; only type checkers import this file.

Keras and scikit-learn have no types of their own. Their classes stand here for what a
reader and an editor make of them.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

Int: TypeAlias = int | np.integer[Any]
Float: TypeAlias = float | np.integer[Any] | np.floating[Any]
Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[Any]


class Sparse(Protocol):
    """A sparse matrix or array of scipy's, which is no array-like."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""

    def tocsr(self) -> Any:
        """Return it row by row."""


class Splitter(Protocol):
    """A splitter as ``sklearn.model_selection`` has them."""

    def get_n_splits(self) -> int:
        """Return the number of splits."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterable[Any]:
        """Yield the positions of training and of test rows."""


Rows: TypeAlias = ArrayLike | Sparse

Arguments: TypeAlias = dict[str, Any]
Path: TypeAlias = str | os.PathLike[str]
RandomState: TypeAlias = Int | np.random.RandomState

Model: TypeAlias = keras.Model
BuildFunction: TypeAlias = Callable[..., keras.Model]
Activation: TypeAlias = str | Callable[..., Any]
Initializer: TypeAlias = str | keras.initializers.Initializer
Callback: TypeAlias = keras.callbacks.Callback
Callbacks: TypeAlias = Sequence[keras.callbacks.Callback] | keras.callbacks.Callback
Loss: TypeAlias = str | Callable[..., Any] | keras.losses.Loss
Metric: TypeAlias = str | Callable[..., Any] | keras.metrics.Metric
Optimizer: TypeAlias = (
    str | type[keras.optimizers.Optimizer] | keras.optimizers.Optimizer
)
LearningRate: TypeAlias = (
    Float | Literal["auto"] | keras.optimizers.schedules.LearningRateSchedule
)
Schedule: TypeAlias = Literal["cosine", "linear", "one-cycle", "coslog4", "flat-cosine"]

Engine: TypeAlias = Literal["numpy", "graph", "compiled", "keras"]
ValidationData: TypeAlias = tuple[Rows, ArrayLike] | tuple[Rows, ArrayLike, ArrayLike]
