"""Programs by architecture, kept and shared between fits; a bounded number of them."""

import hashlib
import itertools
import json
import threading
import types
from collections import OrderedDict

import keras
import numpy as np

from skann._serialisation import no_warning_of_lambdas

# tensorflow frees no traced function, so a smaller cache would save no memory: the
# bound is there for processes that go through very many architectures.
_MOST_PROGRAMS = 256


class ProgramCache:
    """A thread-safe cache in which each program is made once.

    Two threads which ask for the same new program wait for one of them to make it;
    threads which ask for different ones do not wait for each other here.
    """

    def __init__(self, most=_MOST_PROGRAMS):
        self._most = most
        self._lock = threading.Lock()
        self._entries = OrderedDict()

    def get(self, key, make):
        """Return the program for a key, calling `make` where there is none."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        with entry.lock:
            if entry.program is None:
                try:
                    entry.program = make()
                except BaseException:
                    self.forget(key)
                    raise
            return entry.program

    def forget(self, key):
        """Drop a program."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self):
        """Drop all programs."""
        with self._lock:
            self._entries.clear()

    def __len__(self):
        return len(self._entries)


class _Entry:
    def __init__(self):
        self.lock = threading.Lock()
        self.program = None


PROGRAMS = ProgramCache()

# Numbers for code, classes and modules, which can be told apart only by identity. They
# are kept alive here, so that no later one takes their place in memory and number.
_IDENTITIES = {}
_COUNTER = itertools.count()


def _identity(thing):
    kept = _IDENTITIES.get(id(thing))
    if kept is None:
        kept = _IDENTITIES[id(thing)] = (next(_COUNTER), thing)
    return kept[0]


def _like_nothing_else():
    """Describe what cannot be described: no program is shared then."""
    return ["unique", next(_COUNTER)]


def fingerprint(model):
    """Return a text that is equal for models which train by the same program.

    It holds the configuration of every layer, of the loss, the metrics and the
    optimizer, and the shapes of all variables. It leaves out what is an argument of
    the program: the variables' values, so initial weights, seeds and a constant
    learning rate.
    """
    parts = {
        "layers": [_layer(layer) for layer in model._flatten_layers()],
        "variables": [
            (tuple(v.shape), str(v.dtype), v.trainable)
            for v in itertools.chain(model.variables, model.metrics_variables)
        ],
        "optimizer": _optimizer(getattr(model, "optimizer", None)),
        "compile": _compiled_parts(model) if model.compiled else None,
    }
    text = json.dumps(parts, default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _layer(layer):
    try:
        with no_warning_of_lambdas():
            config = dict(layer.get_config())
    except NotImplementedError:
        config = {"is": _like_nothing_else()}
    if "layers" in config:
        config = {"wiring": _wiring(layer, config)}
    config.pop("name", None)
    if type(layer).__module__.startswith("keras."):
        config = {
            k: v
            for k, v in config.items()
            if k != "seed" and not k.endswith("_initializer")
        }
    arrays = {
        k: _digest(v)
        for k, v in vars(layer).items()
        if isinstance(v, np.ndarray) or _is_tensor(v)
    }
    policy = layer.dtype_policy.name
    return [_plain(type(layer)), layer.trainable, policy, config, arrays]


def _wiring(model, config):
    """Describe how a model's layers are connected; they are described by themselves.

    Keras numbers its layers through a process, so positions stand for their names.
    """
    parts = [(part.get("name"), part.get("inbound_nodes")) for part in config["layers"]]
    ends = [config.get("input_layers"), config.get("output_layers")]
    text = json.dumps([parts, ends], default=_plain)
    for i, layer in enumerate(model.layers):
        text = text.replace(json.dumps(layer.name), f'"layer {i}"')
    return text


def _is_tensor(value):
    variable = isinstance(value, keras.Variable)
    return not variable and keras.ops.is_tensor(value) and hasattr(value, "numpy")


def _digest(value):
    return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()


def _optimizer(optimizer):
    if optimizer is None:
        return None
    config = dict(optimizer.get_config())
    config.pop("name", None)
    if isinstance(config.get("learning_rate"), (int, float)):
        del config["learning_rate"]
    return [
        _plain(type(optimizer)),
        config,
        [tuple(v.shape) for v in optimizer.variables],
    ]


def _compiled_parts(model):
    return {
        "loss": _loss(model.loss),
        # Keras' container of metrics has no configuration; what it was made of has.
        "metrics": [m for m in model.metrics if type(m).__name__ != "CompileMetrics"],
        "config": model._compile_config.config if model._compile_config else None,
        "train_step": _plain(model.train_step),
        "test_step": _plain(model.test_step),
    }


def _loss(loss):
    """Describe a loss by all it holds: Keras leaves arguments out of its config."""
    if not isinstance(loss, keras.losses.Loss):
        return loss
    held = {k: v for k, v in vars(loss).items() if k != "name"}
    return [_plain(type(loss)), held]


def _plain(thing):
    """Describe what JSON does not take."""
    if isinstance(thing, (np.generic, np.ndarray)):
        return thing.tolist()
    if isinstance(thing, types.MethodType):
        return _plain(thing.__func__)
    if isinstance(thing, types.FunctionType):
        return _function(thing)
    if isinstance(thing, type):
        return [thing.__module__, thing.__qualname__, _identity(thing)]
    if hasattr(thing, "get_config"):
        try:
            config = dict(thing.get_config())
        except NotImplementedError:
            return _like_nothing_else()
        if isinstance(thing, keras.optimizers.Optimizer):
            return _optimizer(thing)
        return [_plain(type(thing)), config]
    if isinstance(thing, (set, frozenset)):
        return sorted(map(str, thing))
    if isinstance(thing, types.ModuleType | types.CodeType):
        return _identity(thing)
    return _like_nothing_else()


def _contents(cell):
    try:
        return cell.cell_contents
    except ValueError:  # Not filled yet: a function that calls itself.
        return None


def _function(function):
    """Describe a function by its code and what it closes over.

    A build function that defines a loss makes a new function object on every call,
    of the same code.
    """
    closure = [_contents(cell) for cell in function.__closure__ or ()]
    return [
        _identity(function.__code__),
        _identity(function.__globals__),
        list(function.__defaults__ or ()),
        closure,
    ]
