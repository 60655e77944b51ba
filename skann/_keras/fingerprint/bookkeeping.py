"""Attributes of Keras' objects that say nothing of what is traced."""

import keras

from skann._keras.fingerprint.libraries import is_library

# Names of layers and variables. They do count where somebody's code reads them.
_NAMES = {"_name", "_parent_path", "_path", "name", "output_names"}

# How a functional model's layers are wired stands in its nodes, what is built stands in
# the variables, and what a model was compiled with in the objects made of it.
_OF_LAYERS = _NAMES | {
    *("_auto_config", "_build_shapes_dict", "_call_signature", "_called"),
    *("_compile_config", "_compiled_trainable_state", "_distributed_dataset"),
    *("_eval_epoch_iterator", "_inbound_nodes", "_initial_epoch", "_input_spec"),
    *("_jit_compile", "_lock", "_loss_ids", "_losses", "_losses_override"),
    *("_nodes", "_operations", "_operations_by_depth", "_outbound_nodes"),
    *("_saved_model_arg_spec", "_saved_model_inputs_spec", "_tracked", "_tracker"),
    # Keras wraps these two methods of every layer; neither is called in tracing.
    *("build", "quantize"),
    *("history", "predict_function", "stop_evaluating", "stop_predicting"),
    *("stop_training", "test_function", "train_function"),
}
# Made of the memory addresses of variables. Their order is in the list of variables,
# and which of them do not decay is asked of the optimizer.
_OF_OPTIMIZERS = {
    *("_distribution_strategy", "_exclude_from_weight_decay"),
    *("_exclude_from_weight_decay_cache", "_exclude_from_weight_decay_pattern"),
    *("_lock", "_tracker", "_trainable_variables_indices", "name"),
}
_IGNORED = (
    (keras.Operation, _OF_LAYERS),
    (keras.optimizers.Optimizer, _OF_OPTIMIZERS),
    (keras.losses.Loss, {"_tracker", "name", "output_names"}),
    # A metric's name is that of its value in the logs.
    (keras.metrics.Metric, {"_tracker", "output_names"}),
    # Its state is a variable.
    (keras.random.SeedGenerator, {"_initial_seed", "backend", "name"}),
    (keras.Variable, _NAMES | {"_initializer", "_layout", "_ndim", "_shape", "_value"}),
)


def is_ignored(name, cls, with_names):
    """Whether an attribute of a class's instances is left out of their description.

    Parameters
    ----------
    name : str
        The attribute's.
    cls : type
    with_names : bool
        Whether names of layers and variables count.
    """
    if name.startswith("_self_"):  # What tensorflow notes of all that it tracks.
        return True
    if with_names and name in _NAMES:
        return False
    ignored = next((names for base, names in _IGNORED if issubclass(cls, base)), ())
    return name in ignored or (_is_layer_of_keras(cls) and _has_served(name))


def _is_layer_of_keras(cls):
    return issubclass(cls, keras.Operation) and is_library(cls.__module__)


def _has_served(name):
    """Whether an attribute of Keras' layers only decides initial values."""
    return name == "seed" or name.endswith("_initializer")
