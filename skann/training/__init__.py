"""The engine: trains a compiled Keras model on arrays. It knows no estimator."""

from skann.training._dense import KerasState
from skann.training._fallback import in_order
from skann.training._feed import Feed
from skann.training._forward import Forward
from skann.training._guard import EarlyStopping
from skann.training._known import ACTIVATIONS, DenseLayer, Description, cast
from skann.training._loop import train, train_small
from skann.training._program import compiling_pays, prepare
from skann.training._rates import losses_by_rate
from skann.training._small import SmallNetwork
from skann.training._structure import as_declared, single
from skann.training._unit import Unit, add_unit, unit_of
from skann.training._variables import input_dtype, rows_dtype, values_of

__all__ = [
    "ACTIVATIONS",
    "DenseLayer",
    "Description",
    "EarlyStopping",
    "Feed",
    "Forward",
    "KerasState",
    "SmallNetwork",
    "Unit",
    "add_unit",
    "as_declared",
    "cast",
    "compiling_pays",
    "in_order",
    "input_dtype",
    "losses_by_rate",
    "prepare",
    "rows_dtype",
    "single",
    "train",
    "train_small",
    "unit_of",
    "values_of",
]
