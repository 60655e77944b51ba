"""Classify images of clothes: Fashion-MNIST with two hidden layers, 300 and 100 units.

It takes about a minute on two cores. Fashion-MNIST is looked for on this machine, then
downloaded; where neither succeeds, the script says how to get it and ends.
"""

import sys
from pathlib import Path
from time import perf_counter

import keras  # logs less with TF_CPP_MIN_LOG_LEVEL=3
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from skann import MLPKerasClassifier
from skann.datasets import FASHION_MNIST_CLASSES, load_fashion_mnist

OUTPUT = Path(__file__).parent / "output"
OUTPUT.mkdir(exist_ok=True)

try:
    (X_train, y_train), (X_test, y_test) = load_fashion_mnist()
except FileNotFoundError as error:
    print(error)
    sys.exit(0)

# Pixels from 0 to 255 become numbers from 0 to 1. The images stay images, of 28 x 28:
# the network flattens them. The labels become words: a classifier takes any.
X_train, X_test = X_train / np.float32(255), X_test / np.float32(255)
names = np.array(FASHION_MNIST_CLASSES)
y_train, y_test = names[y_train], names[y_test]
print(f"X_train: {X_train.shape}, X_test: {X_test.shape}, {len(names)} classes")

# The output layer follows from y: one unit for each class, with softmax. Any Keras
# callback can take part: this one lowers the learning rate when the validation loss has
# not improved for an epoch, for the last bit of accuracy.
lower = keras.callbacks.ReduceLROnPlateau(factor=0.3, patience=1)
network = MLPKerasClassifier(
    hidden_layer_sizes=(300, 100),
    metrics=["accuracy"],
    learning_rate=1e-3,
    batch_size=128,
    epochs=15,
    early_stopping=True,
    patience=4,
    callbacks=[lower],
    random_state=42,
    verbose=2,  # a line for each epoch
)
start = perf_counter()
network.fit(X_train, y_train)
print(f"\n{network.n_iter_} epochs took {perf_counter() - start:.0f} s.")
network.model_.summary()
print(f"Test accuracy: {network.score(X_test, y_test):.4f}")

# predict_proba says how sure the network is: one column for each class, in the order
# of classes_, which are sorted.
probabilities = network.predict_proba(X_test)
print("\nThe first images of the test set:")
for truth, row in zip(y_test[:5], probabilities[:5], strict=True):
    guesses = [f"{network.classes_[i]} {row[i]:.1%}" for i in np.argsort(-row)[:2]]
    print(f"  {truth + ':':12} {', '.join(guesses)}")

# Which class is taken for which? Each row of the matrix sums to 1.
y_pred = network.predict(X_test)
matrix = confusion_matrix(y_test, y_pred, labels=names, normalize="true")
print("\nShare of each class that was recognised:")
for name, share in zip(names, np.diag(matrix), strict=True):
    print(f"  {name:12} {share:.1%}")

figure, ax = plt.subplots(figsize=(7.5, 6.5), layout="constrained")
ConfusionMatrixDisplay(100 * matrix, display_labels=names).plot(
    ax=ax, cmap="Blues", values_format=".0f", xticks_rotation=45
)
ax.set_title("Fashion-MNIST, test set: % of each true class")
figure.savefig(OUTPUT / "fashion_mnist_confusion.png")

# The mistakes it was surest of.
wrong = np.flatnonzero(y_pred != y_test)
surest = wrong[np.argsort(-probabilities[wrong].max(axis=1))[:10]]
figure, axes = plt.subplots(2, 5, figsize=(10, 4.8), layout="constrained")
for ax, i in zip(axes.flat, surest, strict=True):
    ax.imshow(X_test[i], cmap="gray_r")
    ax.set_title(f"{y_test[i]},\ntaken for {y_pred[i]}", fontsize=10)
    ax.axis("off")
figure.suptitle("The mistakes that the network was surest of")
figure.savefig(OUTPUT / "fashion_mnist_mistakes.png")
print(f"\nThe pictures are in {OUTPUT}.")
