"""Choose the output activation and the loss.

The output activation says what values can come out at all. The loss says what counts
as near: with outliers in y, that makes all the difference.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing

OUTPUT = Path(__file__).parent / "output"
OUTPUT.mkdir(exist_ok=True)

# 1. Output activations. No house is worth less than nothing, yet a linear output may
#    say so. sigmoid and tanh have an upper bound as well: there y is brought to the
#    range of the activation, and predictions back to that of y.
X, y = load_california_housing(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=4000, random_state=42
)
print(f"House values: from {y_train.min():.2f} to {y_train.max():.2f}")
print("Predictions for the test set, by output activation:")
for output_activation, gives, y_range in [
    (None, "any number", None),
    ("relu", "0 or more", None),
    ("softplus", "more than 0", None),
    ("sigmoid", "0 to 1", (0, 1)),
    ("tanh", "-1 to 1", (-1, 1)),
]:
    network = MLPKerasRegressor(
        n_hidden=1,
        n_neurons=20,
        output_activation=output_activation,
        epochs=10,
        random_state=42,
    )
    model = make_pipeline(StandardScaler(), network)
    if y_range is not None:
        model = TransformedTargetRegressor(model, transformer=MinMaxScaler(y_range))
    y_pred = model.fit(X_train, y_train).predict(X_test)
    print(
        f"  {output_activation!s:8} gives {gives:11}: from {y_pred.min():8.2g} "
        f"to {y_pred.max():.2f}, R2 {r2_score(y_test, y_pred):.2f}"
    )

# 2. Losses. y is a sine, and one value in ten is 5 to 10 too high.
rng = np.random.default_rng(42)
x = np.sort(rng.uniform(-3, 3, 400))
truth = np.sin(x)
y = truth + rng.normal(scale=0.2, size=x.shape)
outliers = rng.random(x.shape) < 0.1
y[outliers] += rng.uniform(5, 10, outliers.sum())

figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
ax.plot(x, y, ".", color="silver", label="data")
ax.plot(x, truth, "k--", label="truth")
print("\nDistance of the predictions from the truth, by loss:")
for loss, loss_kwargs, what in [
    ("mse", None, "squares: goes for the mean"),
    ("mae", None, "absolute values: goes for the median"),
    ("huber", {"delta": 1.0}, "squares up to delta, then absolute values"),
]:
    network = MLPKerasRegressor(
        n_hidden=2,
        n_neurons=30,
        activation="tanh",
        loss=loss,
        loss_kwargs=loss_kwargs,
        learning_rate=0.01,
        epochs=100,
        random_state=42,
    )
    y_pred = network.fit(x.reshape(-1, 1), y).predict(x.reshape(-1, 1))
    distance = np.abs(y_pred - truth).mean()
    print(f"  {loss:6} {distance:.3f}  {what}")
    ax.plot(x, y_pred, label=f"{loss}, off by {distance:.2f}")
ax.set(title="Losses and outliers", xlabel="x", ylabel="y", ylim=(-2, 12))
ax.legend(loc="upper left", ncols=2)
figure.savefig(OUTPUT / "outputs_and_losses.png")
print(f"\nThe picture is in {OUTPUT}.")
