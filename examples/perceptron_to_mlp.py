"""From the perceptron to the multi-layer perceptron: XOR.

A single layer draws one straight line through the plane. It learns OR, whose classes
a line divides, and cannot learn XOR, whose classes none does (Minsky and Papert made
that famous in 1969). One hidden layer before it can. The picture shows all three.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.inspection import DecisionBoundaryDisplay

from skann import MLPKerasClassifier

OUTPUT = Path(__file__).parent / "output"
OUTPUT.mkdir(exist_ok=True)

# Two inputs, false (0) or true (1), measured with some noise.
rng = np.random.default_rng(42)
inputs = rng.integers(0, 2, size=(400, 2))
X = inputs + rng.normal(scale=0.12, size=inputs.shape)
y_or = np.where(inputs.sum(axis=1) >= 1, "true", "false")
y_xor = np.where(inputs.sum(axis=1) == 1, "true", "false")
train, test = slice(0, 200), slice(200, 400)

# n_hidden is the number of hidden layers. With 0 the inputs go straight to the output
# unit: a perceptron, but for its soft step, the sigmoid.
one_layer = {"n_hidden": 0}
two_layers = {"n_hidden": 1, "n_neurons": 8}

figure, axes = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained", sharey=True)
for ax, problem, y, layers in [
    (axes[0], "OR, one layer", y_or, one_layer),
    (axes[1], "XOR, one layer", y_xor, one_layer),
    (axes[2], "XOR, two layers", y_xor, two_layers),
]:
    # A high learning rate suits a tiny network.
    network = MLPKerasClassifier(
        **layers, learning_rate=0.03, epochs=50, random_state=42
    )
    network.fit(X[train], y[train])
    accuracy = network.score(X[test], y[test])
    weights = network.model_.count_params()
    print(f"{problem}: {weights} weights, test accuracy {accuracy:.2f}")

    # The colour is the probability of "true", the line is where it is one half.
    whole = {"X": X, "class_of_interest": "true", "ax": ax, "eps": 0.3}
    shades = DecisionBoundaryDisplay.from_estimator(
        network, **whole, plot_method="pcolormesh", cmap="RdBu", vmin=0, vmax=1
    )
    DecisionBoundaryDisplay.from_estimator(
        network, **whole, plot_method="contour", levels=[0.5], colors="black"
    )
    for label, marker, color in [
        ("false", "o", "tomato"),
        ("true", "^", "deepskyblue"),
    ]:
        x1, x2 = X[test][y[test] == label].T
        ax.scatter(x1, x2, 20, color, marker=marker, edgecolors="black", label=label)
    ax.set(title=f"{problem}: accuracy {accuracy:.2f}", xlabel="first input")
axes[0].set_ylabel("second input")
axes[1].legend(loc="center", title="target")
figure.colorbar(shades.surface_, ax=axes, label='predicted probability of "true"')
figure.savefig(OUTPUT / "perceptron_to_mlp.png")
print(f"The picture is in {OUTPUT}.")
