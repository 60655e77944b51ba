"""Hyper-parameter search: what to search, and the learning rates to search among."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

from scipy import stats

from skann._estimators.classifier import MLPKerasClassifier
from skann._estimators.rate_search import network_in, rates_by_test
from skann._estimators.regressor import MLPKerasRegressor
from skann._network.arguments import signature_parameters
from skann._training.range_test import MAX_RATE, MIN_RATE, RateTest
from skann.plotting import LearningRateDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from sklearn.pipeline import Pipeline

    from skann._estimators.base import BaseMLPKeras
    from skann._types import Rows

__all__ = ["LearningRateTest", "find_learning_rate", "param_distributions"]

_KINDS = {"regressor": MLPKerasRegressor, "classifier": MLPKerasClassifier}


def param_distributions(
    estimator: Literal["regressor", "classifier"] | BaseMLPKeras | Pipeline,
    *,
    prefix: str | None = None,
) -> dict[str, Any]:
    """Return distributions of the parameters that are worth searching.

    For ``RandomizedSearchCV`` and ``HalvingRandomSearchCV``. Networks of one to three
    hidden layers, their size, learning rate, dropout and batch size: where the
    estimator can make no use of one of them, it is left out.

    Parameters
    ----------
    estimator : {"regressor", "classifier"}, estimator or Pipeline
        What is to be searched. Of a Pipeline, whose last step is one of skann's
        estimators, the names carry that step's name before them.
    prefix : str, default=None
        Put before each name, with two underscores: the name of the step in a
        Pipeline that holds the estimator.

    Returns
    -------
    dict of str to scipy.stats distribution or list
        Values in a list are equally likely. ``n_neurons`` is that of all hidden
        layers. A new dict, to change as you like.

    Raises
    ------
    TypeError
        If `estimator` is none of these.

    See Also
    --------
    find_learning_rate : To see in which range the learning rate should be.

    Notes
    -----
    ``n_hidden`` is 1 to 3 and ``n_neurons`` 16 to 128, uniformly; ``learning_rate``
    3e-4 to 3e-2 log-uniformly, ten times as much for plain SGD, and left out where it
    is "auto" or a schedule; ``dropout`` 0, 0.1 or 0.2; ``batch_size`` 32, 64 or 128.
    What changes the compiled program, as the number of layers, dropout and the batch
    size do, has a few values only, so that candidates share programs.

    Examples
    --------
    >>> from skann import MLPKerasClassifier
    >>> from skann.search import param_distributions
    >>> list(param_distributions(MLPKerasClassifier()))
    ['n_hidden', 'n_neurons', 'learning_rate', 'dropout', 'batch_size']
    >>> list(param_distributions("regressor", prefix="network"))[0]
    'network__n_hidden'
    """
    if isinstance(estimator, str) and estimator in _KINDS:
        estimator = _KINDS[estimator]()
    names, estimator = network_in(estimator)
    if prefix is not None:
        names = [prefix, *names]
    before = "".join(f"{name}__" for name in names)
    useful = _useful_to(estimator)
    found = _distributions(estimator)
    return {f"{before}{k}": v for k, v in found.items() if k in useful}


def _distributions(estimator: BaseMLPKeras) -> dict[str, Any]:
    optimizer = getattr(estimator.optimizer, "__name__", estimator.optimizer)
    # All others choose the size of each parameter's steps by themselves.
    plain = isinstance(optimizer, str) and optimizer.lower() == "sgd"
    rates = (3e-3, 0.3) if plain else (3e-4, 3e-2)
    return {
        "n_hidden": stats.randint(1, 4),
        "n_neurons": stats.randint(16, 129),
        "learning_rate": stats.loguniform(*rates),
        "dropout": [0.0, 0.1, 0.2],
        "batch_size": [32, 64, 128],
    }


def _useful_to(estimator: BaseMLPKeras) -> set[str]:
    """Return the names of the parameters that an estimator makes use of."""
    takes, _ = signature_parameters(estimator.model)
    useful = {"batch_size", *takes} - (estimator.model_kwargs or {}).keys()
    if estimator.hidden_layer_sizes is not None:
        useful -= {"n_hidden", "n_neurons"}
    if isinstance(estimator.activation, (list, tuple)):
        useful -= {"n_hidden"}  # There is one for each layer.
    # Of a build function that takes neither, only a fit can tell.
    if estimator.model is None or "compile_kwargs" in takes:
        useful.add("learning_rate")
    return useful if _has_own_rate(estimator) else useful - {"learning_rate"}


def _has_own_rate(estimator: BaseMLPKeras) -> bool:
    """Whether it is the parameter that decides the learning rate."""
    return (
        isinstance(estimator.learning_rate, (Real, NoneType))
        and isinstance(estimator.optimizer, (str, type, NoneType))
        and "learning_rate" not in (estimator.optimizer_kwargs or {})
    )


@dataclass(frozen=True, eq=False)
class LearningRateTest(RateTest):
    """Result of a learning rate range test.

    Attributes
    ----------
    rates : ndarray of shape (n_steps,)
        Learning rate of each step until the loss diverged, rising geometrically.
    losses : ndarray of shape (n_steps,)
        Training loss at each of them, smoothed. What is more than twice as high as the
        first losses counts as twice as high.
    divergence_rate : float
        Rate at which the smoothed loss is least: above it, training diverges. The
        smoothing brings it down a little, to the safe side. Lower, where training at
        half of it diverged as well.
    suggestion : float
        Half of that, a rate to train with.

    See Also
    --------
    skann.search.find_learning_rate : Makes such a test.
    skann.plotting.LearningRateDisplay : Its picture.
    """

    def plot(self, ax: Axes | None = None) -> LearningRateDisplay:
        """Draw the losses by their rates.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. If None, a new figure is made.

        Returns
        -------
        :class:`skann.plotting.LearningRateDisplay`
        """
        return LearningRateDisplay(self).plot(ax=ax)


def find_learning_rate(
    estimator: BaseMLPKeras | Pipeline,
    X: Rows,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    min_rate: float = MIN_RATE,
    max_rate: float = MAX_RATE,
) -> LearningRateTest:
    """Find learning rates by a range test.

    A network is trained a step at each of up to 1500 learning rates which rise
    geometrically, until the loss diverges. What that suggests is tried for as many
    steps, and halved while training diverges. ``learning_rate="auto"`` does the same at
    the beginning of a fit and takes the suggestion.

    Parameters
    ----------
    estimator : estimator or Pipeline
        One of skann's, or a Pipeline that ends in one, whose other steps are fitted
        and transform X. It is cloned and stays as it is.
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or more
        Training rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    min_rate, max_rate : float, default=1e-5, 10.0
        The first and the last learning rate.

    Returns
    -------
    LearningRateTest
        With the attributes ``rates`` and ``losses`` (ndarrays), ``divergence_rate``
        and ``suggestion`` (floats), and ``plot()``, which draws them.

    Raises
    ------
    TypeError
        If `estimator` is none of skann's and no Pipeline that ends in one.
    ValueError
        For rates out of order, bad data, where the learning rate cannot be set, and
        where the loss is the same at all rates.
    DivergenceError
        If the loss diverges at the first rates.

    References
    ----------
    L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from skann import MLPKerasRegressor
    >>> from skann.search import find_learning_rate
    >>> X, y = make_friedman1(1000, random_state=0)
    >>> found = find_learning_rate(MLPKerasRegressor(random_state=0), X, y)
    >>> bool(1e-3 < found.suggestion < 0.1)
    True
    """
    test = rates_by_test(
        estimator, X, y, sample_weight, min_rate=min_rate, max_rate=max_rate
    )
    return LearningRateTest(**vars(test))
