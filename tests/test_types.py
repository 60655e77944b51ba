"""Types as a user sees them: mypy checks this file too, and `.ci/run` runs it.

What mypy must refuse stands under `TYPE_CHECKING`, with an `ignore` of that error. It
would be unused, and an error itself, if nothing were refused.
"""

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

import skann
from skann import MLPKerasClassifier, MLPKerasRegressor, datasets, models, plotting
from skann.plotting import LearningRateDisplay, LossCurveDisplay
from skann.search import LearningRateTest, find_learning_rate, param_distributions

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(axis=1)


def test_a_regressor() -> None:
    model = MLPKerasRegressor(
        n_hidden=1,
        n_neurons=np.int64(4),
        activation=["relu"],
        dropout=np.float32(0.0),
        learning_rate=0.01,
        learning_rate_schedule="cosine",
        optimizer="sgd",
        optimizer_kwargs={"momentum": 0.9},
        epochs=2,
        validation_fraction=0.2,
        monitor_mode="min",
        random_state=np.random.RandomState(0),
    )
    assert_type(model.fit(X, Y), MLPKerasRegressor)
    assert_type(model.predict(X), NDArray[np.float64])
    assert_type(model.history_, dict[str, list[float]])
    assert_type(model.n_iter_, int)
    assert_type(model.best_epoch_, int | None)
    assert_type(model.partial_fit(X.tolist(), Y.tolist()), MLPKerasRegressor)
    assert_type(model.get_params(), dict[str, Any])
    assert_type(model.set_params(epochs=1, optimizer__momentum=0.5), MLPKerasRegressor)
    model.fit(sparse.csr_array(X), Y, groups=range(40), batch_size=8)
    model.fit(X, Y, validation_data=(X, Y), epochs=1, verbose=0)
    assert model.engine_ == "numpy"
    assert len(model.history_["val_loss"]) == 1


def test_a_classifier() -> None:
    labels = np.where(Y > 0, "b", "a")
    model = MLPKerasClassifier(epochs=1, class_weight={"a": 1, "b": 2.5})
    assert_type(model.fit(X, labels), MLPKerasClassifier)
    assert_type(model.classes_, NDArray[Any])
    assert_type(model.predict_proba(X), NDArray[np.float64])
    assert_type(model.predict_log_proba(X), NDArray[np.float64])
    assert {*model.predict(X)} <= {"a", "b"}
    other = MLPKerasClassifier(epochs=1).partial_fit(X, labels, classes=["a", "b", "c"])
    assert_type(other, MLPKerasClassifier)


def test_data() -> None:
    rows, prices = datasets.load_california_housing(return_X_y=True)
    assert_type(rows, NDArray[np.float64])
    assert_type(prices, NDArray[np.float64])
    assert len(rows) == len(prices)


def test_search_and_plots() -> None:
    distributions = param_distributions("regressor", prefix="network")
    assert_type(distributions, dict[str, Any])
    assert "network__dropout" in distributions
    test = find_learning_rate(MLPKerasRegressor(random_state=0), X, Y, max_rate=1.0)
    assert_type(test, LearningRateTest)
    assert_type(test.suggestion, float)
    assert_type(test.plot(), LearningRateDisplay)
    display = LossCurveDisplay(training=[3.0, 2.0], best_epoch=1, name="a fit").plot()
    assert_type(display, LossCurveDisplay)
    assert display.best_epoch_marker_ is not None


if TYPE_CHECKING:
    MLPKerasRegressor(epochs="3")  # type: ignore[arg-type]  # No number.
    MLPKerasRegressor(engine="fast")  # type: ignore[arg-type]  # There is none.
    MLPKerasRegressor(validation="first")  # type: ignore[arg-type]  # There is none.
    MLPKerasRegressor(n_layers=2)  # type: ignore[call-arg]  # It is n_hidden.
    MLPKerasRegressor(None, 2)  # type: ignore[call-arg]  # By name only.
    MLPKerasRegressor(class_weight="balanced")  # type: ignore[call-arg]  # No classes.
    MLPKerasClassifier(normalize_y=True)  # type: ignore[call-arg]  # Labels.
    MLPKerasClassifier().fit(X)  # type: ignore[call-arg]  # y is missing.
    MLPKerasClassifier().predict(object())  # type: ignore[arg-type]  # No rows.
    models.build_mlp("2")  # type: ignore[arg-type]  # No number.


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield what users call, by name: functions, and methods of classes."""
    for module in (skann, skann.search, models, plotting, datasets, skann.exceptions):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                yield name, thing
            for cls in thing.__mro__ if inspect.isclass(thing) else ():
                for method, function in vars(cls).items():
                    function = getattr(function, "__func__", function)
                    function = getattr(function, "fget", function)
                    is_public = method == "__init__" or not method.startswith("_")
                    if not is_public or not inspect.isfunction(function):
                        continue
                    if function.__module__.startswith("skann."):
                        yield f"{name}.{method}", function


@pytest.mark.parametrize("function", [pytest.param(f, id=n) for n, f in public()])
def test_all_that_users_call_is_annotated(function: Callable[..., Any]) -> None:
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    bare = [p.name for p in parameters if p.annotation is p.empty]
    assert not {*bare} - {"self", "cls"}
    assert signature.return_annotation is not signature.empty
