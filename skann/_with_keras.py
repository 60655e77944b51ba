"""All that needs Keras of what the rest of skann asks for.

``skann._runtime.start.with_keras`` imports it, after tensorflow was started as it must
be. What is imported with ``skann`` imports nothing of this.
"""

from skann._keras.float64 import changes_float64
from skann._keras.known import check_dtype, check_known, value_of
from skann._keras.layers import n_dense_layers
from skann._keras.packing import packed, to_clone
from skann._keras.serialisation import is_serialisable
from skann._keras.state import (
    assign_values,
    has_misplaced_averages,
    unknown_to_optimizer,
)
from skann._keras.state import values_of as all_values_of
from skann._keras.unit_layer import unit_of
from skann._network.build import build_model, head_of, in_units
from skann._network.keras_network import KerasNetwork
from skann._network.mlp import mlp
from skann._network.persistence import (
    model_of_arrays,
    outline,
    pack,
    take_history,
    thawed,
    unpacked,
)
from skann._training import callback_copies
from skann._training.callbacks import (
    early_stopping,
    needs_batches,
    opened,
    tensorboard,
)
from skann._training.checkpoint import Checkpoint
from skann._training.epoch_tasks import EpochTasks
from skann._training.graph.program import prepare
from skann._training.loop import train
from skann._training.numpy.recognised import array_state_of, give_arrays
from skann._training.rates import losses_by_rate
from skann._training.reported import checks_of, reported_by
from skann._training.scaled_rate import check_has_rate

__all__ = [
    "Checkpoint",
    "EpochTasks",
    "KerasNetwork",
    "all_values_of",
    "array_state_of",
    "assign_values",
    "build_model",
    "callback_copies",
    "changes_float64",
    "check_dtype",
    "check_has_rate",
    "check_known",
    "checks_of",
    "early_stopping",
    "give_arrays",
    "has_misplaced_averages",
    "head_of",
    "in_units",
    "is_serialisable",
    "losses_by_rate",
    "mlp",
    "model_of_arrays",
    "n_dense_layers",
    "needs_batches",
    "opened",
    "outline",
    "pack",
    "packed",
    "prepare",
    "reported_by",
    "take_history",
    "tensorboard",
    "thawed",
    "to_clone",
    "train",
    "unit_of",
    "unknown_to_optimizer",
    "unpacked",
    "value_of",
]
