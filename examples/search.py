"""Search the parameters of a network, three ways.

A build function of your own, a grid over the parameters of optimizer and loss, and
successive halving, where many candidates start and few train to the end.
"""

import keras  # logs less with TF_CPP_MIN_LOG_LEVEL=3
import numpy as np
from scipy.stats import loguniform
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    train_test_split,
)
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing

# A small part of the data will do here. (Stricter is california_housing.py: in a
# Pipeline, the scaler learns from each fold's own training rows.)
X, y = load_california_housing(return_X_y=True)
X, _, y, _ = train_test_split(X, y, train_size=900, random_state=42)
X = StandardScaler().fit_transform(X)


def report(search):
    """Print the candidates of a search, best first."""
    results = search.cv_results_
    for i in np.argsort(results["rank_test_score"]):
        params = {k: f"{v:.3g}" for k, v in results["params"][i].items()}
        named = ", ".join(f"{k}={v}" for k, v in params.items())
        print(f"  R2 {results['mean_test_score'][i]:6.3f}  {named}")


# 1. The build function of a Keras tutorial, as it stands. The estimator has parameters
#    named n_hidden, n_neurons and learning_rate, and hands them on. All others of the
#    function's are model__ and their name: nothing needs to be declared.
def build_model(
    n_hidden=1, n_neurons=30, learning_rate=3e-3, slope=0.1, input_shape=(8,)
):
    model = keras.Sequential([keras.Input(input_shape)])
    for _ in range(n_hidden):
        model.add(keras.layers.Dense(n_neurons))
        model.add(keras.layers.LeakyReLU(slope))
    model.add(keras.layers.Dense(1))
    optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9)
    model.compile(loss="mse", optimizer=optimizer)
    return model


search = RandomizedSearchCV(
    MLPKerasRegressor(build_model, n_neurons=20, epochs=20, random_state=42),
    {
        "n_hidden": [1, 2],
        "learning_rate": loguniform(1e-3, 1e-2),
        "model__slope": [0.01, 0.3],
    },
    n_iter=6,
    cv=3,
    random_state=42,
).fit(X, y)
print("RandomizedSearchCV with a build function:")
report(search)

# 2. Parameters of the optimizer and of the loss have prefixes as well. This search runs
#    two fits at a time, in processes of their own.
search = GridSearchCV(
    MLPKerasRegressor(
        hidden_layer_sizes=(20,),
        activation="tanh",
        optimizer="sgd",
        learning_rate=0.01,
        loss="huber",
        epochs=10,
        random_state=42,
    ),
    {"optimizer__momentum": [0.0, 0.9], "loss__delta": [0.1, 1.0]},
    cv=3,
    n_jobs=2,
).fit(X, y)
print("\nGridSearchCV over parameters of optimizer and loss, in two processes:")
report(search)

# 3. Nine candidates train for 3 epochs, the best 3 of them for 9, the best for 27. Here
#    the search decides how long to train, so early stopping must not.
search = HalvingRandomSearchCV(
    MLPKerasRegressor(
        n_hidden=1, activation="tanh", early_stopping=False, random_state=42
    ),
    {"n_neurons": [5, 20, 80], "learning_rate": loguniform(1e-4, 1e-1)},
    n_candidates=9,
    resource="epochs",
    min_resources=3,
    max_resources=27,
    factor=3,
    cv=3,
    random_state=42,
).fit(X, y)
print("\nHalvingRandomSearchCV over epochs:")
for i, (candidates, epochs) in enumerate(
    zip(search.n_candidates_, search.n_resources_, strict=True)
):
    best = search.cv_results_["mean_test_score"][search.cv_results_["iter"] == i].max()
    print(f"  {candidates} candidates, {epochs:2} epochs: best R2 {best:.3f}")
print(f"  Best: {', '.join(f'{k}={v:.3g}' for k, v in search.best_params_.items())}")
