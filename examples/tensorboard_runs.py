"""Compare two runs in TensorBoard, and read their curves back.

Needs TensorBoard, which tensorflow no longer brings: pip install "skann[tensorboard]".
"""

import shutil
from pathlib import Path

from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from skann import MLPKerasRegressor
from skann.datasets import load_california_housing

OUTPUT = Path(__file__).parent / "output"
ROOT = OUTPUT / "tensorboard"
shutil.rmtree(ROOT, ignore_errors=True)  # the runs of last time

X, y = load_california_housing(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=4000, random_state=42
)

# Every fit writes to a new directory under tensorboard_dir, named by date and time. A
# root with a directory for each setting keeps them side by side and tells them apart.
runs = {}
for learning_rate in [0.001, 0.01]:
    network = MLPKerasRegressor(
        hidden_layer_sizes=(40,),
        activation="tanh",
        learning_rate=learning_rate,
        epochs=10,
        early_stopping=True,
        tensorboard_dir=ROOT / f"learning_rate={learning_rate}",
        random_state=42,
    )
    model = make_pipeline(StandardScaler(), network).fit(X_train, y_train)
    runs[learning_rate] = model[-1].tensorboard_dir_
    print(f"learning_rate={learning_rate}: R2 {model.score(X_test, y_test):.3f}")

print("\nStart TensorBoard and open the address that it prints:")
print(f"  tensorboard --logdir {ROOT}")


def read_curve(directory):
    """Return the loss of each epoch from TensorBoard's event files."""
    events = EventAccumulator(str(directory)).Reload()
    return [float(make_ndarray(e.tensor_proto)) for e in events.Tensors("epoch_loss")]


# What TensorBoard shows can be read back: of each run, the directories train and
# validation hold the two curves.
print("\nLoss by epoch, read back from the event files:")
for learning_rate, directory in runs.items():
    for part in ["train", "validation"]:
        curve = read_curve(Path(directory) / part)
        values = " ".join(f"{loss:.3f}" for loss in curve)
        print(f"  {learning_rate:<5} {part:10} {values}")
