"""The learning rate range test of an estimator, or of a Pipeline that ends in one."""

import math
from numbers import Real

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skann._estimators.base import BaseMLPKeras
from skann._training.range_test import MAX_RATE, MIN_RATE


def rates_by_test(
    estimator, X, y, sample_weight=None, *, min_rate=MIN_RATE, max_rate=MAX_RATE
):
    """Return the test (RateTest) that ``skann.search.find_learning_rate`` describes."""
    are_numbers = isinstance(min_rate, Real) and isinstance(max_rate, Real)
    if not are_numbers or not 0 < min_rate < max_rate < math.inf:
        raise ValueError(
            "Rates must be finite numbers that rise from above 0; got "
            f"min_rate={min_rate!r} and max_rate={max_rate!r}."
        )
    network_in(estimator)
    while isinstance(estimator, Pipeline):
        if len(estimator) > 1:
            X = clone(estimator[:-1]).fit_transform(X, y)
        estimator = estimator[-1]
    kwargs = dict(estimator.optimizer_kwargs or {})
    kwargs.pop("learning_rate", None)
    network = clone(estimator)
    network.set_params(learning_rate="auto", optimizer_kwargs=kwargs or None)
    return network._find_learning_rate(X, y, sample_weight, min_rate, max_rate)


def network_in(estimator):
    """Return the names of the steps that lead to an estimator of skann's, and it."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        names, network = network_in(last)
        return [name, *names], network
    if isinstance(estimator, BaseMLPKeras):
        return [], estimator
    raise TypeError(
        "An instance of an estimator of skann, or a Pipeline that ends in one, was "
        "expected (or, by param_distributions, 'regressor' or 'classifier'); got "
        f"{estimator!r}."
    )
