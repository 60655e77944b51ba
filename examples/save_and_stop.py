"""Stop in time, keep the best weights, save, load, and see a fit diverge."""

import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import keras  # logs less with TF_CPP_MIN_LOG_LEVEL=3
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing
from skann.exceptions import DivergenceError, DivergenceWarning

OUTPUT = Path(__file__).parent / "output"
OUTPUT.mkdir(exist_ok=True)

X, y = load_california_housing(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=5000, random_state=42
)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)

# 1. Early stopping. epochs is the most there can be; patience is how many epochs the
#    validation loss may fail to improve. The weights of the best epoch are kept, and a
#    checkpoint writes them to a file whenever there is a better one, so that a power
#    cut costs little. Its ending chooses Keras' format: .keras, .h5 or .weights.h5.
checkpoint = OUTPUT / "checkpoint.keras"
network = MLPKerasRegressor(
    hidden_layer_sizes=(40,),
    activation="tanh",
    learning_rate=0.01,
    epochs=200,
    early_stopping=True,
    patience=5,
    checkpoint_path=checkpoint,
    random_state=42,
)
network.fit(X_train, y_train)
losses = network.history_["val_loss"]
print(f"Stopped after {network.n_iter_} of at most {network.epochs} epochs.")
print(f"Best epoch: {network.best_epoch_ + 1}, validation loss {min(losses):.4f}")
print(f"Last epoch: {network.n_iter_}, validation loss {losses[-1]:.4f}")
print(f"Test R2: {network.score(X_test, y_test):.3f}")

# 2. The checkpoint is Keras' own: any program that knows Keras reads it. It holds the
#    network alone, which gives y in y's own unit.
y_pred = network.predict(X_test)
outputs = keras.models.load_model(checkpoint).predict(X_test, verbose=0).ravel()
print(f"\n{checkpoint.name}: {checkpoint.stat().st_size / 1024:.0f} KiB")
difference = np.abs(outputs - y_pred).max()
print(f"Greatest difference of its outputs from the predictions: {difference:.1e}")

# 3. The estimator as a whole is saved as any other of scikit-learn's, and loaded here
#    in a fresh process. Only load files that you trust: a pickle can run any code.
saved, rows = OUTPUT / "network.joblib", OUTPUT / "network_X.npy"
joblib.dump(network, saved)
np.save(rows, X_test)
elsewhere = """
import sys, joblib, numpy as np
network = joblib.load(sys.argv[1])
np.save(sys.argv[2], network.predict(np.load(sys.argv[2])))
"""
subprocess.run([sys.executable, "-c", elsewhere, saved, rows], check=True)
print(f"\n{saved.name}: {saved.stat().st_size / 1024:.0f} KiB")
print(f"Equal predictions in a fresh process: {np.array_equal(np.load(rows), y_pred)}")

# 4. Training goes on where it left off, optimizer and all, also after loading.
again = joblib.load(saved)
for _ in range(3):
    again.partial_fit(X_train, y_train)
print(
    f"After 3 epochs more, {again.n_iter_} in all: R2 {again.score(X_test, y_test):.3f}"
)

# 5. A fit diverges when its steps are too long: each one overshoots by more than the
#    last, until the loss is infinite. Then it stops at once and says what to try.
hasty = MLPKerasRegressor(optimizer="sgd", learning_rate=100.0, random_state=42)
try:
    hasty.fit(X_train, y_train)
except DivergenceError as error:
    print(f"\nDivergenceError: {error}")

# 6. Where some epochs went well before, the best weights are kept, and a warning tells.
#    Here the learning rate is ten times as high in each epoch as in the one before.
rising = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 10 * rate)
hastier = MLPKerasRegressor(
    activation="tanh",
    optimizer="sgd",
    learning_rate=1e-4,
    callbacks=[rising],
    random_state=42,
)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", DivergenceWarning)
    hastier.fit(X_train, y_train)
print(f"\n{caught[0].category.__name__}: {caught[0].message}")
print(f"Test R2 of the weights it kept: {hastier.score(X_test, y_test):.3f}")
