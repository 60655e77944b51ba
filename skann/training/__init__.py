"""The engine: trains a compiled Keras model on arrays. It knows no estimator."""

from skann.training._fallback import in_order
from skann.training._feed import Feed
from skann.training._forward import Forward
from skann.training._guard import EarlyStopping
from skann.training._loop import train
from skann.training._program import STEPS_WORTH_COMPILING, prepare
from skann.training._rates import losses_by_rate
from skann.training._variables import input_dtype, read, weights_of

__all__ = [
    "STEPS_WORTH_COMPILING",
    "EarlyStopping",
    "Feed",
    "Forward",
    "in_order",
    "input_dtype",
    "losses_by_rate",
    "prepare",
    "read",
    "train",
    "weights_of",
]
