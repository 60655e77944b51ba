"""Build functions: plain arguments in, an uncompiled ``keras.Model`` out.

They know nothing of estimators and can be called by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from skann._runtime.start import with_keras

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from skann._types import Activation, Initializer, Model

__all__ = ["build_mlp"]

# He's initialisation for the rectifier and its smooth relatives, LeCun's for selu,
# which is derived for it; Glorot's is Keras' own choice for everything else.
_INITIALIZERS = {
    "relu": "he_uniform",
    "leaky_relu": "he_uniform",
    "elu": "he_uniform",
    "gelu": "he_uniform",
    "silu": "he_uniform",
    "swish": "he_uniform",
    "mish": "he_uniform",
    "selu": "lecun_normal",
}


def build_mlp(
    n_hidden: int = 2,
    n_neurons: int = 100,
    *,
    hidden_layer_sizes: Sequence[int] | None = None,
    activation: Activation | Sequence[Activation] = "relu",
    output_activation: Activation | None = None,
    kernel_initializer: Initializer = "auto",
    dropout: float = 0.0,
    normalization: Literal["batch", "layer"] | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    dtype: str = "float32",
    input_shape: tuple[int, ...] = (1,),
    n_outputs: int = 1,
    random_state: int | None = None,
) -> Model:
    """Build a multi-layer perceptron.

    Inputs of more than one dimension are flattened first. Each hidden layer is a
    dense layer, then its normalisation, activation and dropout, where there are any.

    Parameters
    ----------
    n_hidden : int, default=2
        Number of hidden layers. 0 gives a single layer: a linear model.
    n_neurons : int, default=100
        Number of units of every hidden layer.
    hidden_layer_sizes : sequence of int, default=None
        Units of each hidden layer. When given, `n_hidden` and `n_neurons` are not
        used.
    activation : str, callable or sequence of these, default="relu"
        Activation of the hidden layers, or one for each of them.
    output_activation : str or callable, default=None
        Activation of the output layer; None is linear.
    kernel_initializer : str or keras.initializers.Initializer, default="auto"
        "auto" takes He's for relu and its relatives, LeCun's for selu and Glorot's
        otherwise.
    dropout : float in [0, 1), default=0.0
        Fraction of each hidden layer's units dropped in training.
    normalization : {"batch", "layer"} or None, default=None
        Normalisation between each hidden layer and its activation.
    l1, l2 : float, default=0.0
        Penalties on the kernels of all layers.
    dtype : str, default="float32"
        Keras dtype policy of all layers.
    input_shape : tuple of int, default=(1,)
        Shape of one row of X.
    n_outputs : int, default=1
        Number of output units.
    random_state : int, default=None
        Seed of the initial weights and of dropout. None draws one from the
        operating system.

    Returns
    -------
    keras.Sequential
        The model, built and not compiled.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", ICCV 2015.
    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-Normalizing Neural
    Networks", NeurIPS 2017.

    Examples
    --------
    >>> from skann.models import build_mlp
    >>> build_mlp(2, 30, input_shape=(8,), random_state=0).count_params()
    1231
    """
    return with_keras().mlp(
        [n_neurons] * n_hidden if hidden_layer_sizes is None else hidden_layer_sizes,
        activation=activation,
        output_activation=output_activation,
        kernel_initializer=kernel_initializer,
        dropout=dropout,
        normalization=normalization,
        l1=l1,
        l2=l2,
        dtype=dtype,
        input_shape=input_shape,
        n_outputs=n_outputs,
        random_state=random_state,
    )


def initializer_name(activation: Activation) -> str:
    """Return the name of the initializer that suits a layer's activation."""
    name = str(getattr(activation, "__name__", activation))
    return _INITIALIZERS.get(name, "glorot_uniform")


def kernel_seeds(random_state: int | None) -> Iterator[int]:
    """Yield seeds for the layers' initial weights, and for dropout, in turn."""
    source = np.random.SeedSequence(random_state)
    while True:
        yield int(source.spawn(1)[0].generate_state(1)[0] >> 1)
