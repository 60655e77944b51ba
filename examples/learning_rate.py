"""Find a learning rate with a range test, and see what other rates would have done.

The test trains one step at each of some thousand rates, which rise until the loss
diverges. Half of the rate with the least loss is a good one to train with.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing
from skann.search import find_learning_rate

OUTPUT = Path(__file__).parent / "output"

X, y = load_california_housing(return_X_y=True)
X, X_val, y, y_val = train_test_split(X, y, train_size=5000, random_state=42)
scaler = StandardScaler().fit(X)
X, X_val = scaler.transform(X), scaler.transform(X_val)

# Plain gradient descent: of all optimizers it depends on the learning rate the most.
network = MLPKerasRegressor(
    n_neurons=30, optimizer="sgd", epochs=8, early_stopping=False, random_state=42
)
found = find_learning_rate(network, X, y)
print(f"Suggested learning rate: {found.suggestion:.3g}")
print(f"Training diverges above: {found.divergence_rate:.3g}")

OUTPUT.mkdir(exist_ok=True)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
found.plot(ax=left)

# The same network with the suggestion and with rates a hundred times apart.
for factor in (0.01, 0.1, 1):
    rate = factor * found.suggestion
    network.set_params(learning_rate=rate).fit(X, y)
    print(f"  rate {rate:8.2g}: loss after 8 epochs {network.loss_curve_[-1]:.3f}")
    right.plot(range(1, 9), network.loss_curve_, "o-", label=f"{rate:.2g}")
right.set(xlabel="Epoch", ylabel="loss", yscale="log")
right.legend(title="learning rate")
figure.savefig(OUTPUT / "learning_rate.png")

# "auto" makes the test at the beginning of the fit.
network.set_params(learning_rate="auto").fit(X, y)
print(f'learning_rate="auto" took {network.learning_rate_:.3g}')
