"""scikit-learn's own tools around skann's estimators, on small real data."""

import numpy as np
import pytest
import searches
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import get_scorer, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    check_cv,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.multiclass import type_of_target

from skann import MLPKerasClassifier, MLPKerasRegressor

# One small architecture, so that the programs are shared by most tests.
SMALL = {
    "n_hidden": 1,
    "n_neurons": 8,
    "learning_rate": 0.02,
    "epochs": 20,
    "random_state": 0,
}


def regressor(**params):
    return MLPKerasRegressor(**{**SMALL, **params})


def classifier(**params):
    return MLPKerasClassifier(**{**SMALL, **params})


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


@pytest.fixture
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(scope="module")
def iris():
    """Sorted by class, as the data is shipped: folds must be stratified."""
    X, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture
def cancer():
    """Labels of strings, of which "malignant" is the greater."""
    data = load_breast_cancer()
    X = StandardScaler().fit_transform(data.data[:200])
    return X, data.target_names[data.target[:200]]


# What holds the estimators.

REGRESSORS = {
    "Pipeline": lambda: scaled(regressor()),
    "TransformedTargetRegressor": lambda: TransformedTargetRegressor(
        scaled(regressor()), func=np.log, inverse_func=np.exp
    ),
    "VotingRegressor": lambda: VotingRegressor(
        [("mlp", scaled(regressor())), ("ridge", Ridge())]
    ),
    "StackingRegressor": lambda: StackingRegressor(
        [("mlp", scaled(regressor())), ("ridge", Ridge())], cv=3
    ),
    "StackingRegressor, at the top": lambda: StackingRegressor(
        [("ridge", scaled(Ridge()))], final_estimator=regressor(), cv=3
    ),
    "BaggingRegressor": lambda: BaggingRegressor(
        scaled(regressor()), n_estimators=3, random_state=0
    ),
    "AdaBoostRegressor": lambda: AdaBoostRegressor(
        scaled(regressor()), n_estimators=3, random_state=0
    ),
}


@pytest.mark.parametrize("tool", REGRESSORS)
def test_regressor_in(tool, california):
    X_train, X_test, y_train, y_test = train_test_split(*california, random_state=0)
    model = REGRESSORS[tool]()
    assert is_regressor(model)
    # Least squares reaches 0.55 on these rows.
    assert model.fit(X_train, y_train).score(X_test, y_test) > 0.45


CLASSIFIERS = {
    "Pipeline": lambda: scaled(classifier()),
    "VotingClassifier, soft": lambda: VotingClassifier(
        [("mlp", scaled(classifier())), ("logistic", scaled(LogisticRegression()))],
        voting="soft",
    ),
    "VotingClassifier, hard": lambda: VotingClassifier(
        [("mlp", scaled(classifier())), ("logistic", scaled(LogisticRegression()))],
        voting="hard",
    ),
    "StackingClassifier": lambda: StackingClassifier(
        [("mlp", scaled(classifier())), ("logistic", scaled(LogisticRegression()))],
        cv=3,
    ),
    "StackingClassifier, at the top": lambda: StackingClassifier(
        [("logistic", scaled(LogisticRegression()))],
        final_estimator=classifier(),
        cv=3,
    ),
    "BaggingClassifier": lambda: BaggingClassifier(
        scaled(classifier()), n_estimators=3, random_state=0
    ),
    "AdaBoostClassifier": lambda: scaled(
        AdaBoostClassifier(classifier(), n_estimators=3, random_state=0)
    ),
    "CalibratedClassifierCV": lambda: CalibratedClassifierCV(
        scaled(classifier()), cv=3
    ),
    "OneVsRestClassifier": lambda: OneVsRestClassifier(scaled(classifier())),
    "OneVsOneClassifier": lambda: OneVsOneClassifier(scaled(classifier())),
}


@pytest.mark.parametrize("tool", CLASSIFIERS)
def test_classifier_in(tool):
    data = load_wine()
    labels = data.target_names[data.target]
    X_train, X_test, y_train, y_test = train_test_split(
        data.data, labels, stratify=labels, random_state=0
    )
    model = CLASSIFIERS[tool]()
    assert is_classifier(model)
    assert model.fit(X_train, y_train).score(X_test, y_test) > 0.9
    np.testing.assert_array_equal(model.classes_, data.target_names)
    of_votes = ("OneVsOneClassifier", "VotingClassifier, hard")
    assert hasattr(model, "predict_proba") == (tool not in of_votes)
    if tool not in of_votes:
        proba = model.predict_proba(X_test)
        assert proba.shape == (len(X_test), 3)
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)


def test_column_transformer_of_mixed_columns():
    frame = load_diabetes(as_frame=True, scaled=False).frame
    frame["sex"] = frame["sex"].map({1.0: "one", 2.0: "other"}).astype("category")
    X, y = frame.drop(columns="target"), frame["target"]
    numbers = X.columns.drop("sex")
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), numbers),
            ("sex", OneHotEncoder(sparse_output=False), ["sex"]),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    model = make_pipeline(columns, regressor())
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    # Least squares reaches 0.36 on these rows, a network of this size a little less.
    assert model.fit(X_train, y_train).score(X_test, y_test) > 0.25
    names = [*numbers, "sex_one", "sex_other"]
    assert list(model[-1].feature_names_in_) == names


@pytest.mark.parametrize("tool", [MultiOutputRegressor, RegressorChain])
def test_several_targets(tool, california):
    X, price = california
    # House prices and their neighbourhood's incomes, from all else.
    y = np.column_stack([price, X[:, 0]])
    X_train, X_test, y_train, y_test = train_test_split(X[:, 1:], y, random_state=0)
    model = tool(scaled(regressor())).fit(X_train, y_train)
    assert model.predict(X_test).shape == y_test.shape
    assert model.score(X_test, y_test) > 0.3


@pytest.mark.parametrize("tool", [MultiOutputClassifier, ClassifierChain])
def test_several_labels(tool, iris):
    X, species = iris
    # Chains take numbers; the other takes several classes a column.
    wide = (X[:, 1] > 0).astype(int)
    y = np.column_stack([species, wide])
    if tool is ClassifierChain:
        y = np.column_stack([species > 0, wide]).astype(int)
    model = tool(classifier()).fit(X, y)
    assert type_of_target(model.predict(X)) == type_of_target(y)
    assert np.all((model.predict(X) == y).mean(axis=0) > 0.9)


# Folds and scorers.


def test_folds_of_a_classifier_are_stratified(iris):
    X, y = iris
    model = scaled(classifier())
    assert isinstance(check_cv(3, y, classifier=is_classifier(model)), StratifiedKFold)
    assert not isinstance(
        check_cv(3, y, classifier=is_classifier(regressor())), StratifiedKFold
    )
    result = cross_validate(
        model, X, y, cv=3, return_indices=True, return_train_score=True
    )
    for fold in result["indices"]["test"]:
        assert sorted(np.bincount(y[fold])) == [16, 17, 17]
    assert np.all(result["test_score"] > 0.9)
    assert np.all(result["train_score"] > 0.9)


@pytest.mark.parametrize(
    ("name", "floor"), [("accuracy", 0.9), ("roc_auc", 0.97), ("neg_log_loss", -0.3)]
)
def test_scorers_of_a_classifier(name, floor, cancer):
    X, y = cancer
    model = classifier().fit(X[:100], y[:100])
    assert get_scorer(name)(model, X[100:], y[100:]) > floor


def test_roc_auc_is_of_the_second_class(cancer):
    X, y = cancer
    model = classifier().fit(X, y)
    auc = roc_auc_score(y == "malignant", model.predict_proba(X)[:, 1])
    assert model.classes_[1] == "malignant"
    assert get_scorer("roc_auc")(model, X, y) == auc


def test_roc_auc_of_many_classes(iris):
    scores = cross_val_score(classifier(), *iris, cv=3, scoring="roc_auc_ovr")
    assert np.all(scores > 0.97)


def test_tuned_threshold(cancer):
    X, y = cancer
    model = TunedThresholdClassifierCV(classifier(), scoring="balanced_accuracy", cv=3)
    model.fit(X[:100], y[:100])
    assert get_scorer("balanced_accuracy")(model, X[100:], y[100:]) > 0.85


def test_cross_val_predict_of_a_regressor(diabetes):
    X, y = diabetes
    cv = KFold(3, shuffle=True, random_state=0)
    predicted = cross_val_predict(scaled(regressor()), X, y, cv=cv)
    for train, test in cv.split(X):
        by_hand = scaled(regressor()).fit(X[train], y[train]).predict(X[test])
        np.testing.assert_array_equal(predicted[test], by_hand)
    assert np.corrcoef(predicted, y)[0, 1] > 0.6


def test_cross_val_predict_of_probabilities(iris):
    X, y = iris
    proba = cross_val_predict(classifier(), X, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    assert (proba.argmax(axis=1) == y).mean() > 0.9


def test_cross_validate_with_several_scores(diabetes):
    cv = KFold(3, shuffle=True, random_state=0)
    result = cross_validate(
        scaled(regressor()), *diabetes, cv=cv, scoring=["r2", "neg_mean_absolute_error"]
    )
    assert np.all(result["test_r2"] > 0.3)
    assert np.all(result["test_neg_mean_absolute_error"] > -60)


def test_learning_curve(california):
    X, y = california
    sizes, train, test = learning_curve(
        scaled(regressor()),
        X,
        y,
        train_sizes=[30, 200],
        cv=3,
        shuffle=True,
        random_state=0,
    )
    assert list(sizes) == [30, 200]
    assert train.shape == test.shape == (2, 3)
    assert test[1].mean() > max(0.4, test[0].mean())


# Inspection.


def test_permutation_importance(iris):
    X, y = iris
    found = permutation_importance(
        classifier().fit(X, y), X, y, n_repeats=5, random_state=0
    )
    sepals, petals = found.importances_mean[:2], found.importances_mean[2:]
    assert sepals.max() < petals.min()


def test_partial_dependence_of_a_regressor(california):
    X, y = california
    model = scaled(regressor()).fit(X, y)
    found = partial_dependence(model, X, [0], grid_resolution=10, kind="both")
    assert found["average"].shape == (1, 10)
    assert found["individual"].shape == (1, len(X), 10)
    # Prices rise with income.
    assert np.corrcoef(found["average"][0], np.arange(10))[0, 1] > 0.9


def test_partial_dependence_of_a_classifier(iris):
    X, y = iris
    found = partial_dependence(classifier().fit(X, y), X, [2], grid_resolution=10)
    setosa, _, virginica = found["average"]
    assert setosa[0] > setosa[-1]
    assert virginica[0] < virginica[-1]


# Searches: the same scores, whatever runs them; on a cluster, in test_cluster.


# One test for all: starting the processes takes longer than the searches.
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_searches_repeat_in(backend, searches_alone):
    searches.assert_repeat(backend, searches_alone)


def test_search_of_a_pipeline(diabetes):
    X, y = diabetes
    grid = {"mlpkerasregressor__learning_rate": [1e-5, 0.02]}
    search = GridSearchCV(scaled(regressor()), grid, cv=3).fit(X, y)
    assert search.best_params_["mlpkerasregressor__learning_rate"] == 0.02
    assert search.best_score_ > 0.3
