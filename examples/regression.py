"""A first regression: early stopping, loss curves, and what the learning rate does.

The network predicts the median house value of Californian districts.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.base import clone
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing
from skann.plotting import LossCurveDisplay

OUTPUT = Path(__file__).parent / "output"
OUTPUT.mkdir(exist_ok=True)

X, y = load_california_housing(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=42)

# More layers and units than needed, then early stopping. A tenth of the training rows
# is held out as a validation set; when its loss has not improved for 5 epochs, training
# stops, and the weights of the best epoch are put back.
network = MLPKerasRegressor(
    hidden_layer_sizes=(50, 50),
    activation="tanh",
    learning_rate=3e-3,
    early_stopping=True,
    validation_fraction=0.1,
    patience=5,
    random_state=42,
)
# Gradient descent wants all features on one scale.
model = make_pipeline(StandardScaler(), network).fit(X_train, y_train)

fitted = model[-1]
print(f"Trained for {fitted.n_iter_} epochs; the best was {fitted.best_epoch_ + 1}.")
print(f"R2 on the training set: {model.score(X_train, y_train):.3f}")
print(f"R2 on the test set:     {model.score(X_test, y_test):.3f}")
error = mean_absolute_error(y_test, model.predict(X_test))
print(f"On the average, a prediction is off by ${100_000 * error:,.0f}.")

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
LossCurveDisplay.from_estimator(model, ax=left)
left.set(title="Early stopping", ylabel="MSE")

# The learning rate is the parameter to tune first. Too low, and training crawls; too
# high, and the steps are too long to settle anywhere.
print("\nTen epochs at learning rates from low to high:")
for learning_rate in [3e-5, 3e-4, 3e-3, 3e-2, 3e-1]:
    trial = clone(model).set_params(
        mlpkerasregressor__learning_rate=learning_rate,
        mlpkerasregressor__early_stopping=False,
        mlpkerasregressor__epochs=10,
    )
    curve = trial.fit(X_train, y_train)[-1].loss_curve_
    right.plot(range(1, 11), curve, marker=".", label=f"{learning_rate:g}")
    print(
        f"  {learning_rate:<7g} training loss {curve[-1]:5.3f}, "
        f"R2 on the test set {trial.score(X_test, y_test):6.3f}"
    )
right.set(title="The learning rate", xlabel="Epoch", ylabel="Training loss")
right.set_ylim(0, 2)
right.legend(title="learning_rate", loc="upper center", ncols=3)
figure.savefig(OUTPUT / "regression.png")
print(f"\nThe picture is in {OUTPUT}.")
