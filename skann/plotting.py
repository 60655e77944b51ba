"""Pictures of a fit, in the manner of scikit-learn's displays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skann._estimators.rate_search import rates_by_test

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from numpy.typing import ArrayLike

    from skann._estimators.base import BaseMLPKeras
    from skann._training.range_test import RateTest
    from skann._types import Rows

__all__ = ["LearningRateDisplay", "LossCurveDisplay"]


class LearningRateDisplay:
    """Losses of a learning rate range test, by their learning rates.

    Use :meth:`from_estimator` to make a test and draw it, or ``plot()`` of a test that
    was made before.

    Parameters
    ----------
    test : LearningRateTest
        As :func:`skann.search.find_learning_rate` returns it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curve.

    figure_ : matplotlib Figure
        The figure that holds the axes.

    line_ : matplotlib Line2D
        The smoothed losses.

    suggestion_line_, divergence_line_ : matplotlib Line2D
        Vertical lines at the suggested rate and at the one above which training
        diverges.

    See Also
    --------
    skann.search.find_learning_rate : Makes the test.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skann import MLPKerasRegressor
    >>> from skann.plotting import LearningRateDisplay
    >>> X, y = make_friedman1(1000, random_state=0)
    >>> display = LearningRateDisplay.from_estimator(
    ...     MLPKerasRegressor(random_state=0), X, y
    ... )
    >>> display.ax_.get_xlabel()
    'learning rate'
    """

    def __init__(self, test: RateTest) -> None:
        self.test = test

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseMLPKeras | Pipeline,
        X: Rows,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Make a learning rate range test and plot it.

        Parameters
        ----------
        estimator, X, y, sample_weight
            As :func:`skann.search.find_learning_rate` takes them.

        ax : matplotlib Axes, default=None
            The axes to plot on. If None, a new figure is made.

        **kwargs : dict
            Passed to :func:`skann.search.find_learning_rate`.

        Returns
        -------
        display : :class:`~skann.plotting.LearningRateDisplay`
            The display, plotted.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        test = rates_by_test(estimator, X, y, sample_weight, **kwargs)
        return cls(test).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Plot the smoothed losses, the suggestion and where training diverges.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on. If None, a new figure is made.

        Returns
        -------
        display : :class:`~skann.plotting.LearningRateDisplay`
            The display itself, with its attributes set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = _new_axes() if ax is None else ax
        test = self.test
        (self.line_,) = ax.plot(test.rates, test.losses)
        self.suggestion_line_ = ax.axvline(
            test.suggestion,
            color="tab:green",
            linestyle="--",
            label=f"suggestion, {test.suggestion:.2g}",
        )
        self.divergence_line_ = ax.axvline(
            test.divergence_rate,
            color="tab:red",
            linestyle=":",
            label=f"diverges above, {test.divergence_rate:.2g}",
        )
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
        if test.losses.min() > 0:
            ax.set_yscale("log")
        ax.legend()
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


class LossCurveDisplay:
    """Curves of the loss, or of a metric, over the epochs of a fit.

    Use :meth:`from_estimator` to create one. All parameters are stored as attributes.

    Parameters
    ----------
    training : sequence of float
        The value on the training data at the end of each epoch.

    validation : sequence of float, default=None
        The value on the validation set at the end of each epoch.

    best_epoch : int, default=None
        Index, from 0, of the epoch to mark as the best one.

    metric : str, default="loss"
        What the values are; the label of the vertical axis.

    name : str, default=None
        What the legend calls the fit; needed only where several share one picture.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes with the curves.

    figure_ : matplotlib Figure
        The figure that holds the axes.

    lines_ : list of matplotlib Line2D
        The curve of the training data, then that of the validation set if any.

    best_epoch_marker_ : matplotlib Line2D or None
        The mark of the best epoch, on the last of the curves.

    See Also
    --------
    skann.MLPKerasRegressor : Its ``history_`` holds the values.
    skann.MLPKerasClassifier : Its ``history_`` holds the values.

    Notes
    -----
    The horizontal axis counts epochs from 1, as Keras' progress bar does: the epoch of
    index ``best_epoch_`` stands at ``best_epoch_ + 1``.

    Examples
    --------
    >>> from skann.plotting import LossCurveDisplay
    >>> display = LossCurveDisplay(
    ...     training=[0.9, 0.5, 0.3], validation=[0.8, 0.6, 0.7], best_epoch=1
    ... )
    >>> display.plot().best_epoch_marker_.get_xdata()
    array([2])
    >>> display.figure_.savefig("loss.png")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        training: Sequence[float],
        validation: Sequence[float] | None = None,
        best_epoch: int | None = None,
        metric: str = "loss",
        name: str | None = None,
    ) -> None:
        self.training = training
        self.validation = validation
        self.best_epoch = best_epoch
        self.metric = metric
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        metric: str = "loss",
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Plot the curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted estimator of skann, a Pipeline that ends in one, or a search that
            has refitted one of these.

        metric : str, default="loss"
            A key of ``history_`` without ``val_``: where the fit had a validation set,
            its curve is drawn too.

        name : str, default=None
            What the legend calls the fit; needed only where several share one picture.

        ax : matplotlib Axes, default=None
            The axes to plot on. If None, a new figure is made.

        Returns
        -------
        display : :class:`~skann.plotting.LossCurveDisplay`
            The display, plotted.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.

        TypeError
            If the estimator is none of skann's and holds none of them.

        ValueError
            If the history of the fit lacks the metric.

        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from skann import MLPKerasRegressor
        >>> from skann.datasets import load_california_housing
        >>> from skann.plotting import LossCurveDisplay
        >>> X, y = load_california_housing(return_X_y=True)
        >>> model = make_pipeline(StandardScaler(), MLPKerasRegressor(epochs=5))
        >>> display = LossCurveDisplay.from_estimator(model.fit(X[::20], y[::20]))
        >>> display.ax_.get_ylabel()
        'loss'
        """
        fitted = _with_history(estimator)
        history = fitted.history_
        metrics = [key for key in history if not key.startswith("val_")]
        if metric not in metrics:
            raise ValueError(
                f"metric={metric!r} is not in the history of the fit; it has {metrics}."
            )
        display = cls(
            training=history[metric],
            validation=history.get(f"val_{metric}"),
            best_epoch=fitted.best_epoch_,
            metric=metric,
            name=name,
        )
        return display.plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to plot on. If None, a new figure is made.

        Returns
        -------
        display : :class:`~skann.plotting.LossCurveDisplay`
            The display itself, with ``ax_``, ``figure_``, ``lines_`` and
            ``best_epoch_marker_`` set.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        ax = _new_axes() if ax is None else ax
        epochs = range(1, len(self.training) + 1)
        self.lines_ = ax.plot(epochs, self.training, label=self._label("training"))
        if self.validation is not None:
            # One colour a fit, so that several in one picture stay apart.
            (training,) = self.lines_
            training.set_linestyle("--")
            self.lines_ += ax.plot(
                epochs,
                self.validation,
                color=training.get_color(),
                label=self._label("validation"),
            )
        self.best_epoch_marker_ = self._mark_best_epoch(ax)
        ax.set(xlabel="Epoch", ylabel=self.metric)
        ax.locator_params(axis="x", integer=True)
        ax.legend()
        self.ax_ = ax
        self.figure_ = ax.figure
        return self

    def _label(self, curve: str) -> str:
        return curve if self.name is None else f"{self.name}, {curve}"

    def _mark_best_epoch(self, ax: Axes) -> Line2D | None:
        if self.best_epoch is None:
            return None
        line = self.lines_[-1]
        at = slice(self.best_epoch, self.best_epoch + 1)
        x, y = map(np.asarray, line.get_data())
        (marker,) = ax.plot(
            x[at], y[at], "o", color=line.get_color(), label=self._label("best epoch")
        )
        return marker


def _with_history(estimator: Any) -> Any:
    """Return what has a history: the estimator, or the last step or best one in it."""
    while not hasattr(estimator, "history_"):
        if isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            check_is_fitted(estimator)
            raise TypeError(
                f"{type(estimator).__name__} has no history of a fit: give a fitted "
                "estimator of skann, a Pipeline that ends in one, or a search with "
                "refit=True."
            )
    return estimator


def _new_axes() -> Axes:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'skann[plot]'") from error
    return plt.subplots(layout="constrained")[1]
