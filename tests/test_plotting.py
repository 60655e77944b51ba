import sys

import matplotlib.pyplot as plt
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann.plotting import LossCurveDisplay


class Network(RegressorMixin, BaseEstimator):
    """Has the history of a fit without any training."""

    def __init__(self, with_validation=True):
        self.with_validation = with_validation

    def fit(self, X, y):
        self.history_ = {"loss": [3.0, 2.0, 1.0], "mae": [1.5, 1.2, 1.0]}
        if self.with_validation:
            self.history_ |= {"val_loss": [3.5, 2.5, 2.8], "val_mae": [1.6, 1.3, 1.4]}
        self.best_epoch_ = 1
        return self

    def predict(self, X):
        return X[:, 0]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def labels(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def assert_loss_curves(display):
    training, validation = display.lines_
    assert_array_equal(training.get_data(), [[1, 2, 3], [3.0, 2.0, 1.0]])
    assert_array_equal(validation.get_data(), [[1, 2, 3], [3.5, 2.5, 2.8]])
    assert_array_equal(display.best_epoch_marker_.get_data(), [[2], [2.5]])


def test_curves_and_best_epoch(california):
    display = LossCurveDisplay.from_estimator(Network().fit(*california))
    assert_loss_curves(display)
    assert labels(display) == ["training", "validation", "best epoch"]
    assert display.ax_.get_xlabel() == "Epoch"
    assert display.ax_.get_ylabel() == "loss"
    assert display.figure_ is display.ax_.figure
    assert all(float(tick).is_integer() for tick in display.ax_.get_xticks())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda network: make_pipeline(StandardScaler(), network),
        lambda network: GridSearchCV(network, {}, cv=2),
        lambda network: GridSearchCV(make_pipeline(StandardScaler(), network), {}),
        lambda network: make_pipeline(StandardScaler(), GridSearchCV(network, {})),
    ],
    ids=["pipeline", "search", "search of pipeline", "pipeline with search"],
)
def test_the_network_is_found_inside(california, wrap):
    fitted = wrap(Network()).fit(*california)
    assert_loss_curves(LossCurveDisplay.from_estimator(fitted))


def test_metric(california):
    display = LossCurveDisplay.from_estimator(Network().fit(*california), metric="mae")
    training, validation = display.lines_
    assert_array_equal(training.get_ydata(), [1.5, 1.2, 1.0])
    assert_array_equal(validation.get_ydata(), [1.6, 1.3, 1.4])
    assert display.ax_.get_ylabel() == "mae"


def test_without_a_validation_set(california):
    network = Network(with_validation=False).fit(*california)
    display = LossCurveDisplay.from_estimator(network)
    assert len(display.lines_) == 1
    assert_array_equal(display.best_epoch_marker_.get_data(), [[2], [2.0]])
    assert labels(display) == ["training", "best epoch"]


def test_several_fits_share_one_picture(california):
    network = Network().fit(*california)
    first = LossCurveDisplay.from_estimator(network, name="mse")
    second = LossCurveDisplay.from_estimator(network, name="huber", ax=first.ax_)
    assert second.ax_ is first.ax_
    assert labels(second)[::3] == ["mse, training", "huber, training"]
    first_colors, second_colors = (
        {line.get_color() for line in (*display.lines_, display.best_epoch_marker_)}
        for display in (first, second)
    )
    assert len(first_colors) == len(second_colors) == 1
    assert first_colors != second_colors


def test_display_of_values():
    display = LossCurveDisplay(training=[2.0, 1.0])
    assert display.plot() is display
    assert len(display.lines_) == 1
    assert display.best_epoch_marker_ is None


@pytest.mark.parametrize("metric", ["accuracy", "val_loss"])
def test_unknown_metric(california, metric):
    network = Network().fit(*california)
    with pytest.raises(ValueError, match=rf"metric='{metric}'.*\['loss', 'mae'\]"):
        LossCurveDisplay.from_estimator(network, metric=metric)


@pytest.mark.parametrize(
    "estimator",
    [
        Network(),
        make_pipeline(StandardScaler(), Network()),
        GridSearchCV(Network(), {}),
    ],
    ids=["network", "pipeline", "search"],
)
def test_not_fitted(estimator):
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(estimator)


def test_no_network(california):
    with pytest.raises(TypeError, match="Ridge has no history"):
        LossCurveDisplay.from_estimator(Ridge().fit(*california))


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"skann\[plot\]"):
        LossCurveDisplay(training=[2.0, 1.0]).plot()
