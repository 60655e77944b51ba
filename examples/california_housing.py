"""Search a network for California Housing, from raw data to a saved pipeline.

The whole way: split, scale, search, stop early, test, save, load, predict. It takes
about a minute on two cores, and leaves in the folder ``output``:

- ``california_housing.joblib``, the fitted pipeline
- ``california_housing.png``, the loss curves
"""

import subprocess
import sys
from pathlib import Path
from time import perf_counter

import joblib
import numpy as np
import sklearn
from scipy.stats import loguniform
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import RandomizedSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing
from skann.plotting import LossCurveDisplay

OUTPUT = Path(__file__).parent / "output"
OUTPUT.mkdir(exist_ok=True)

# 1. The data: 20640 districts, 8 features, and the median house value in $100,000.
#    The test set is touched once, at the very end; the validation set tells each
#    fit when to stop.
X, y = load_california_housing(return_X_y=True)
X_train_full, X_test, y_train_full, y_test = train_test_split(X, y, random_state=42)
X_train, X_val, y_train, y_val = train_test_split(
    X_train_full, y_train_full, random_state=42
)
print(
    f"{len(X_train)} rows to train on, {len(X_val)} to validate, {len(X_test)} to test"
)

# 2. The pipeline. Features of such different ranges must be scaled, and so must those
#    of the validation set, by what was learned on the training rows: metadata routing
#    takes X_val through the scaler on its way to the network. One district in the
#    validation set claims 1243 people to a household, 500 standard deviations off.
#    Units of relu would carry that on to the output, and one row would decide when to
#    stop; units of tanh saturate.
sklearn.set_config(enable_metadata_routing=True)
network = MLPKerasRegressor(
    activation="tanh", epochs=100, early_stopping=True, patience=10, random_state=42
).set_fit_request(X_val=True, y_val=True)
pipeline = Pipeline(
    [("scale", StandardScaler()), ("network", network)], transform_input=["X_val"]
)

# 3. The search: 10 random candidates, each fitted on 3 folds. A learning rate is
#    drawn log-uniformly: 0.0003 to 0.003 is as likely as 0.003 to 0.03.
search = RandomizedSearchCV(
    pipeline,
    {
        "network__n_hidden": [0, 1, 2, 3],
        "network__n_neurons": np.arange(1, 100),
        "network__learning_rate": loguniform(3e-4, 3e-2),
    },
    n_iter=10,
    cv=3,
    random_state=42,
    verbose=3,
)
start = perf_counter()
search.fit(X_train, y_train, X_val=X_val, y_val=y_val)
print(f"\nThe search took {perf_counter() - start:.0f} s for {10 * 3 + 1} fits.")

best = search.best_estimator_
print("\nBest parameters:")
for name, value in search.best_params_.items():
    print(f"  {name:23} {value:.3g}")
print(f"Mean R2 over the folds: {search.best_score_:.3f}")
print(
    f"Fitted to all training rows, it stopped after {best[-1].n_iter_} epochs and kept "
    f"the weights of epoch {best[-1].best_epoch_ + 1}."
)

# 4. The test. R2 is 1 for perfect predictions and 0 for the mean of y.
y_pred = search.predict(X_test)
print(f"\nTest R2:  {search.score(X_test, y_test):.3f}")
print(f"Test MSE: {mean_squared_error(y_test, y_pred):.3f}")

# 5. Save the pipeline, scaler and all, and use it in a fresh process, which knows
#    nothing but the file.
saved, rows, predicted = (
    OUTPUT / f"california_housing{end}" for end in (".joblib", "_X.npy", "_y.npy")
)
joblib.dump(best, saved)
np.save(rows, X_test)
elsewhere = """
import sys, joblib, numpy as np
saved, rows, predicted = sys.argv[1:]
np.save(predicted, joblib.load(saved).predict(np.load(rows)))
"""
subprocess.run([sys.executable, "-c", elsewhere, saved, rows, predicted], check=True)
if not np.array_equal(np.load(predicted), y_pred):
    sys.exit("The pipeline predicts something else in a fresh process.")
rows.unlink()
predicted.unlink()
print(f"\nSaved to {saved.name} and loaded in a fresh process: equal predictions.")

# 6. The loss curves: while that of the validation set falls, the network learns what
#    holds for districts that it has not seen.
display = LossCurveDisplay.from_estimator(search)
display.ax_.set(title="California Housing: the best network", ylabel="MSE")
display.figure_.savefig(OUTPUT / "california_housing.png")
print(f"The picture of the loss curves is in {OUTPUT}.")
