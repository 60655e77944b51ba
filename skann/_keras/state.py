"""What decides how a Keras model predicts and goes on training, beside its layers.

The values of its variables, and what layers hold in other ways: a vocabulary in a
table, what was derived from variables, whatever a layer of the user's own saves. For
these, Keras has hooks, which its own files use as well.
"""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from skann._runtime.private import built_on, layers_in


def state_of(model, with_optimizer=True):
    """Return the state of a model as plain data.

    Parameters
    ----------
    model : keras.Model
    with_optimizer : bool, default=True
        Whether the optimizer's state belongs to it.

    Returns
    -------
    dict
        For ``restore``.
    """
    parts = _parts(model, with_optimizer)
    variables = _variables(model, with_optimizer)
    positions = {id(variable): i for i, variable in enumerate(variables)}
    return {
        "trainable": [layer.trainable for layer in _layers(model)],
        "own": {i: _saved(part, positions) for i, part in _with_own(parts)},
        "files": {i: _written(part) for i, part in _with_files(parts)},
        "values": [np.copy(v.numpy()) for v in variables],
    }


def restore(model, state):
    """Give a model like the one that ``state_of`` was given that one's state.

    Where that had no optimizer state, this one's optimizer is left alone.
    """
    values = state["values"]
    # The optimizer's variables are the last ones.
    variables = _variables(model)[: len(values)]
    _assign(variables, values)
    parts = _parts(model)
    for i, saved in state["own"].items():
        parts[i].load_own_variables(_Store(saved=saved, values=values))
    for i, files in state["files"].items():
        if files:
            _read(parts[i], files)
    if state["own"] or state["files"]:  # They may have changed some variables.
        _assign(variables, values)


def take_trainable(model, state):
    """Freeze the layers that were frozen in the model that ``state_of`` was given."""
    for layer, trainable in zip(_layers(model), state["trainable"], strict=True):
        if layer.trainable is not trainable:
            layer.trainable = trainable


def positions_of_optimizer(model):
    """Return where among a model's variables those are that its optimizer was built on.

    None where it was not. They need not be those that are trainable today: layers may
    have been frozen since.
    """
    optimizer = getattr(model, "optimizer", None)  # None before it is compiled
    if optimizer is None or not optimizer.built:
        return None
    positions = {id(variable): i for i, variable in enumerate(model.variables)}
    known = built_on(optimizer)
    if not all(id(variable) in positions for variable in known):  # Another model's.
        known = model.trainable_variables
    return [positions[id(variable)] for variable in known]


def unknown_to_optimizer(model):
    """Return the trainable variables that a model's optimizer was not built on."""
    optimizer = model.optimizer
    if optimizer is None or not optimizer.built:
        return []
    known = {id(variable) for variable in built_on(optimizer)}
    return [v for v in model.trainable_variables if id(v) not in known]


def has_misplaced_averages(model):
    """Whether a model's optimizer would take one variable's average for another's.

    Keras pairs averages with what is trainable by position, whatever was frozen since
    the optimizer was built. The first ones still fit where only later ones were frozen.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer is None or not optimizer.built or not optimizer.use_ema:
        return False
    pairs = zip(model.trainable_variables, built_on(optimizer), strict=False)
    return any(variable is not known for variable, known in pairs)


def values_of(model):
    """Return the values of all variables of a model that training changes.

    Weights, optimizer state and the state of its random generators, which Keras' own
    ``.keras`` file leaves out.
    """
    return [np.copy(v.numpy()) for v in _variables(model)]


def assign_values(model, values):
    """Give a model's variables the values that ``values_of`` returned."""
    _assign(_variables(model), values)


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _variables(model, with_optimizer=True):
    optimizer = getattr(model, "optimizer", None)  # None before it is compiled
    if optimizer is None or not optimizer.built or not with_optimizer:
        return list(model.variables)
    return [*model.variables, *optimizer.variables]


def _layers(model):
    return layers_in(model)


def _parts(model, with_optimizer=True):
    """Return all that may have state of its own, in an order that copies have too."""
    optimizer = getattr(model, "optimizer", None) if with_optimizer else None
    return [*_layers(model), *([] if optimizer is None else [optimizer])]


# Keras' classes that load nothing but variables, some of them after a conversion.
_ONLY_VARIABLES = {
    cls.load_own_variables
    for cls in (
        keras.layers.Layer,
        keras.layers.Dense,
        keras.layers.EinsumDense,
        keras.layers.Embedding,
        keras.layers.Conv1D,
        keras.optimizers.Optimizer,
    )
}


def _with_own(parts):
    """Yield the parts that save more than their variables, or derive it, and where."""
    for i, part in enumerate(parts):
        load = getattr(type(part), "load_own_variables", None)
        if load is not None and load not in _ONLY_VARIABLES:
            yield i, part


def _with_files(parts):
    for i, part in enumerate(parts):
        if hasattr(part, "save_assets") and hasattr(part, "load_assets"):
            yield i, part


class _Store(dict[str, Any]):
    """What Keras has in a file for a layer: arrays by name.

    An array that is a variable's value is kept as that one's position (int) among all.
    """

    def __init__(self, positions=None, saved=(), values=()):
        super().__init__(saved)
        self._positions, self._values = positions or {}, values

    def __setitem__(self, name, value):
        position = self._positions.get(id(value))
        if position is not None:
            super().__setitem__(name, position)
            return
        if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
            value = keras.ops.convert_to_numpy(value)
        super().__setitem__(name, np.asarray(value))

    def __getitem__(self, name):
        value = super().__getitem__(name)
        return self._values[value] if type(value) is int else value


def _saved(part, positions):
    store = _Store(positions)
    part.save_own_variables(store)
    return dict(store)


def _written(part):
    """Return the files that a part writes, by their names."""
    with tempfile.TemporaryDirectory() as directory:
        part.save_assets(directory)
        found = [path for path in Path(directory).rglob("*") if path.is_file()]
        return {
            path.relative_to(directory).as_posix(): path.read_bytes() for path in found
        }


def _read(part, files):
    with tempfile.TemporaryDirectory() as directory:
        for name, content in files.items():
            path = Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        part.load_assets(directory)
