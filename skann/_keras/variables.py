"""A model's variables: which there are, and what they hold, read in one go."""

from skann._keras.lending import own_values
from skann._keras.unit_layer import constants_of
from skann._runtime.private import read_variables


def read(values):
    """Return the values of tensorflow's variables, as arrays that nobody may change.

    It is called at every epoch's end and in every prediction.
    """
    return read_variables(values) if values else []


def weights_of(model):
    """Return the values of a model's weights, as ``model.get_weights`` does, faster."""
    return read(own_values(model.weights))


def values_of(model):
    """Return the values of all of a model's own variables, weights and seeds."""
    return read(own_values(model.variables))


def variables_of(model, unit=None):
    """Return every variable that training uses, each once, in a fixed order.

    The numbers of y's unit are among them: those of `unit`, or else the model's own.
    """
    return [*keras_variables_of(model), *constants_of(model, unit)]


def keras_variables_of(model):
    """Return every variable of Keras' that training uses, in that order."""
    optimizer = getattr(model, "optimizer", None)  # None before it is compiled
    of_optimizer = optimizer.variables if optimizer is not None else []
    variables = [*model.variables, *of_optimizer, *model.metrics_variables]
    return list({id(v): v for v in variables}.values())


def rows_dtype(model):
    """Return the type in which a model is given its rows: what its input declares.

    Elsewhere the number of a category, say, would go by way of floats, which cannot
    hold all of them. A model that declares no input is given floats.
    """
    inputs = getattr(model, "inputs", None)
    return inputs[0].dtype if inputs else input_dtype(model)


def input_dtype(model):
    """Return the floating type in which a model is given its targets and weights.

    That of its weights: a model's own ``variable_dtype`` says nothing of its layers.
    """
    kinds = (v.dtype for v in model.weights)
    return next((k for k in kinds if k in ("float32", "float64")), "float32")
