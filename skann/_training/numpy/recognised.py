"""Which Keras models are dense stacks that are computed in NumPy, and their state."""

import keras
import numpy as np

from skann._keras.fingerprint.libraries import is_as_made
from skann._keras.input_layers import input_layers, input_scale_of
from skann._keras.layers import (
    is_keras_activation,
    is_plain_dense,
    passes_on,
    shares_no_variable,
)
from skann._keras.lending import own_values
from skann._keras.names import canonical_name
from skann._keras.scopes import eagerly
from skann._keras.unit_layer import unit_layer, unit_of
from skann._keras.variables import read
from skann._runtime import private
from skann._training.numpy.description import (
    LOSSES,
    DenseLayer,
    Description,
    OptimizerSettings,
    cast,
)
from skann._training.numpy.stack import TRAINED_ACTIVATIONS, Stack
from skann._training.numpy.state import ArrayState

_FUNCTIONS = {
    keras.losses.MeanSquaredError: keras.losses.mean_squared_error,
    keras.losses.MeanAbsoluteError: keras.losses.mean_absolute_error,
    keras.losses.BinaryCrossentropy: keras.losses.binary_crossentropy,
    keras.losses.CategoricalCrossentropy: keras.losses.categorical_crossentropy,
    keras.losses.SparseCategoricalCrossentropy: (
        keras.losses.sparse_categorical_crossentropy
    ),
}
_LOSS_SETTINGS = {
    "reduction": "sum_over_batch_size",
    "from_logits": False,
    "label_smoothing": 0.0,
    "ignore_class": None,
    "axis": -1,
}


_OPTIMIZER_SETTINGS = {
    "amsgrad": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


def is_trained_in_numpy(model, row_shape):
    """Whether a compiled model is one whose steps are known here."""
    optimizer = model.optimizer
    return (
        type(optimizer) in (keras.optimizers.Adam, keras.optimizers.SGD)
        and isinstance(private.rate_of(optimizer), keras.Variable)
        and has(vars(optimizer), _OPTIMIZER_SETTINGS)
        and is_as_made(optimizer)
        and is_evaluated_in_numpy(model, row_shape)
    )


class KerasState:
    """Weights and optimizer state of a dense stack, in the variables of its model.

    Parameters
    ----------
    model : keras.Sequential
        For which `is_trained_in_numpy` holds; its variables are created.

    Attributes
    ----------
    description : Description
    settings : OptimizerSettings
    rate_dtype : str
        Of the variable of the learning rate.
    """

    def __init__(self, model):
        self.description = described(model)
        self.settings = _settings_of(model.optimizer)
        self._optimizer = model.optimizer
        # A callback may put a schedule in its place; Keras goes on by the variable.
        self._rate = private.rate_of(model.optimizer)
        self.rate_dtype = self._rate.dtype
        self._weights = [v for layer in dense_layers(model) for v in layer.weights]
        if type(model.optimizer) is keras.optimizers.Adam:
            self._slots = private.moments_of(model.optimizer)
        else:
            self._slots = [model.optimizer.momentums]

    @property
    def rate(self):
        """The learning rate as it is now."""
        return float(*read(own_values([self._rate])))

    def fill(self, parameters, slots):
        """Fill vectors of parameters, and return the number of steps taken."""
        for variables, vector in self._pairs(parameters, slots):
            values = read(own_values(variables))
            for value, part in zip(values, self._parts(vector), strict=True):
                part[...] = value
        return int(*read(own_values([self._optimizer.iterations])))

    def keep(self, parameters, slots, n_steps):
        """Take the values of vectors of parameters, and the number of steps."""
        for variables, vector in self._pairs(parameters, slots):
            values = own_values(variables)
            for value, part in zip(values, self._parts(vector), strict=True):
                value.assign(part)
        self._optimizer.iterations.assign(n_steps)

    def _pairs(self, parameters, slots):
        pairs = zip(self._slots, slots, strict=True)
        # Without momentum, SGD has no variables for it.
        return [(self._weights, parameters), *(pair for pair in pairs if pair[0])]

    def _parts(self, vector):
        return self.description.views(vector)


def _settings_of(optimizer):
    if type(optimizer) is keras.optimizers.Adam:
        numbers = {n: getattr(optimizer, n) for n in ("beta_1", "beta_2", "epsilon")}
        return OptimizerSettings("adam", **numbers)
    return OptimizerSettings(
        "sgd", momentum=optimizer.momentum, nesterov=optimizer.nesterov
    )


def array_state_of(model, row_shape):
    """Return weights and optimizer state of a built model in arrays, or None.

    None where it is no stack that is computed in NumPy.
    """
    if not is_trained_in_numpy(model, row_shape) or not model.optimizer.built:
        return None
    state = KerasState(model)
    n_slots = 2 if state.settings.kind == "adam" else 1
    shape, dtype = state.description.n_parameters, state.description.dtype
    parameters, *slots = (np.zeros(shape, dtype) for _ in range(1 + n_slots))
    n_steps = state.fill(parameters, slots)
    return ArrayState(
        state.description, state.settings, state.rate, parameters, slots, n_steps
    )


def give_arrays(model, arrays):
    """Give a model the weights and the optimizer state that arrays hold."""
    with eagerly():  # Whoever asks for the model may be traced.
        KerasState(model).keep(arrays.parameters, arrays.slots, arrays.n_steps)
        model.optimizer.learning_rate = arrays.rate


def described(model):
    """Return the description of a model for which `is_evaluated_in_numpy` holds."""
    layers = dense_layers(model)
    description = tuple(map(_described_layer, layers))
    kind = canonical_name(model.loss), layers[0].variable_dtype
    return Description(description, *kind, unit_of(model), input_scale_of(model))


def dense_layers(model):
    """Return the dense layers of a model for which `is_evaluated_in_numpy` holds."""
    return [x for x in model.layers if isinstance(x, keras.layers.Dense)]


def _described_layer(layer):
    penalty = layer.kernel_regularizer
    n_inputs, n_outputs = map(int, layer.kernel.shape)
    return DenseLayer(
        n_inputs,
        n_outputs,
        layer.activation.__name__,
        layer.use_bias,
        l1=cast(getattr(penalty, "l1", 0.0)),
        l2=cast(getattr(penalty, "l2", 0.0)),
    )


def is_evaluated_in_numpy(model, row_shape, dropout=False):
    """Whether a compiled model is a stack whose loss can be computed here.

    With `dropout`, it may have dropout layers, which do nothing in an evaluation.
    """
    if type(model) is not keras.Sequential or model.run_eagerly:
        return False
    if not is_as_made(model):
        return False
    unit, first = unit_layer(model), input_layers(model)
    layers = list(model.layers)[len(first) : None if unit is None else -1]
    passing = []
    if layers and type(layers[0]) is keras.layers.Flatten:
        passing.append(layers.pop(0))
    elif len(row_shape) != 1:
        return False
    if dropout:
        passing += [x for x in layers if type(x) is keras.layers.Dropout]
        layers = [x for x in layers if type(x) is not keras.layers.Dropout]
    if not all(map(passes_on, passing)):
        return False
    if not layers or not all(map(_is_known_layer, layers)):
        return False
    if not shares_no_variable(model):
        return False
    if any(layer.activation.__name__ == "softmax" for layer in layers[:-1]):
        return False
    given = private.compiled_with(model)
    parts = [given.get(k) for k in ("metrics", "weighted_metrics", "loss_weights")]
    if any(part is not None and part != [] for part in parts):
        return False
    dtype, last = layers[0].compute_dtype, layers[-1].activation.__name__
    layers += [*passing, *first[1:]]
    return all(_dtypes(layer) == {dtype} for layer in layers) and _is_known_loss(
        model, last, dtype if unit is None else "float64"
    )


def _dtypes(layer):
    return {layer.compute_dtype, layer.variable_dtype}


def _is_known_layer(layer):
    return (
        is_plain_dense(layer)
        and layer.trainable
        and is_keras_activation(layer.activation, {*TRAINED_ACTIVATIONS, "softmax"})
        and layer.compute_dtype in ("float32", "float64")
    )


def _is_known_loss(model, activation, dtype):
    computed, loss = private.computed_losses(model), model.loss
    if len(computed) != 1 or computed[0] is not loss:
        return False
    if type(loss) not in _FUNCTIONS or loss.dtype != dtype or not is_as_made(loss):
        return False
    settings = {**private.settings_of(loss), "reduction": loss.reduction}
    is_its_own = loss.fn is _FUNCTIONS[type(loss)]
    does_match = activation in LOSSES[canonical_name(loss)] and has(
        settings, _LOSS_SETTINGS
    )
    return is_its_own and does_match


def has(config, settings):
    """Whether a configuration has these settings, where it has their names."""
    return all(config.get(name, value) == value for name, value in settings.items())


class Evaluation:
    """The loss of a dense stack on validation rows."""

    def __init__(self, model, feed):
        description = described(model)
        self._feed = description.as_learned(feed)
        self._stack = Stack(description)

    def logs(self, weights, n_rows=None):
        """Return the logs (dict of float) for the model's weights."""
        self._stack.set_weights(weights)
        return self._stack.evaluate(self._feed, n_rows)
