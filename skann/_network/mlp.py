"""The built-in network, of Keras' layers."""

import keras

from skann._keras.penalty import CastPenalty
from skann.models import initializer_name, kernel_seeds


def mlp(
    sizes,
    *,
    activation,
    output_activation,
    kernel_initializer,
    dropout,
    normalization,
    l1,
    l2,
    dtype,
    input_shape,
    n_outputs,
    random_state,
):
    """Return the network that ``skann.models.build_mlp`` describes.

    Parameters
    ----------
    sizes : sequence of int
        Units of each hidden layer. All else is as there.
    """
    activations = _one_each(activation, len(sizes))
    seeds = kernel_seeds(random_state)
    regularizer = _penalty(l1, l2, dtype)

    def dense(units, activation, applied=None, dtype=dtype, use_bias=True):
        return keras.layers.Dense(
            int(units),
            activation=applied,
            use_bias=use_bias,
            kernel_initializer=_initializer(
                kernel_initializer, activation, next(seeds)
            ),
            kernel_regularizer=regularizer,
            dtype=dtype,
        )

    layers = [keras.Input(tuple(input_shape), dtype=_variable_dtype(dtype))]
    if len(input_shape) > 1:
        layers.append(keras.layers.Flatten(dtype=dtype))
    for units, hidden in zip(sizes, activations, strict=True):
        if normalization is None:
            layers.append(dense(units, hidden, applied=hidden))
        else:
            # A batch normalisation takes any bias before it away again.
            layers += [
                dense(units, hidden, use_bias=normalization != "batch"),
                _normalization_layer(normalization, dtype),
                keras.layers.Activation(hidden, dtype=dtype),
            ]
        if dropout:
            layers.append(keras.layers.Dropout(dropout, seed=next(seeds), dtype=dtype))
    # The outputs stay in full precision under a mixed policy, as Keras' guide advises.
    output_dtype = _variable_dtype(dtype)
    layers.append(dense(n_outputs, output_activation, output_activation, output_dtype))
    return keras.Sequential(layers)


def _penalty(l1, l2, dtype):
    if not l1 and not l2:
        return None
    if _variable_dtype(dtype) != "float32":
        return CastPenalty(l1, l2)
    return keras.regularizers.L1L2(l1, l2)


def _one_each(activation, n_layers):
    if isinstance(activation, (list, tuple)):
        if len(activation) != n_layers:
            raise ValueError(
                f"activation has {len(activation)} entries for {n_layers} hidden "
                "layers. Give one for each hidden layer, or a single one for all."
            )
        return activation
    return [activation] * n_layers


def _normalization_layer(kind, dtype):
    if kind == "batch":
        return keras.layers.BatchNormalization(dtype=dtype)
    return keras.layers.LayerNormalization(dtype=dtype)


def _initializer(kernel_initializer, activation, seed):
    if kernel_initializer == "auto":
        kernel_initializer = initializer_name(activation)
    initializer = keras.initializers.get(kernel_initializer)
    config = initializer.get_config()
    if config.get("seed", 0) is None:
        initializer = type(initializer).from_config({**config, "seed": seed})
    return initializer


def _variable_dtype(policy):
    return keras.dtype_policies.get(policy).variable_dtype
