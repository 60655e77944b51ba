"""Programs by architecture, kept and shared between fits; a bounded number of them."""

import hashlib
import itertools
import json
import threading
import types
from collections import Counter, OrderedDict
from dataclasses import dataclass

import keras
import numpy as np

from skann._serialisation import things_in_layers, tolerant_of_lambdas
from skann.training._unit import NAME as UNIT

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

_COUNTER = itertools.count()


@dataclass(frozen=True)
class _Individual:
    """What can be told apart only by identity: code, a class or a module.

    Its number is its own in this process, its description the same in others. The thing
    itself is kept alive, so that no later one takes its place in memory and number.
    """

    number: int
    description: str
    thing: object = None


_INDIVIDUALS = {}


def _identity(thing, description):
    if id(thing) not in _INDIVIDUALS:
        _INDIVIDUALS[id(thing)] = _Individual(next(_COUNTER), description, thing)
    return _INDIVIDUALS[id(thing)]


def _like_nothing_else():
    """Describe what cannot be described: no program is shared then."""
    return _Individual(next(_COUNTER), "unique")


# How often a program of the same description was made in this process.
_MADE = Counter()


def first_number(model, *how):
    """Return where the numbers in the names of a program's functions are to start.

    The same in every process, for the first program of a description; never the same
    twice in a process.
    """
    text = json.dumps([_parts(model), how], default=_described, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    _MADE[digest] += 1
    digest = hashlib.sha256(f"{digest} {_MADE[digest]}".encode()).hexdigest()
    # Room for a million names, far from the numbers that tensorflow counts up from 0.
    return 2**61 + (int(digest[:10], 16) << 20)


def _described(thing):
    return thing.description if isinstance(thing, _Individual) else _plain(thing)


def fingerprint(model, units=None):
    """Return a text that is equal for models which train by the same program.

    With `units`, which ``shared_units`` returned, it is that of the widened model.

    It holds the configuration of every layer, of the loss, the metrics and the
    optimizer, and the shapes of all variables. It leaves out what is an argument of
    the program: the variables' values, so initial weights, seeds and a constant
    learning rate.
    """
    parts = _parts(model)
    if units is not None:
        parts = _without_widths(parts, model, units)
    text = json.dumps(parts, default=_plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_widths(parts, model, units):
    """Put widened layers in the place of a stack's own."""
    wide = {id(model.layers[i]): width for i, width in units.items()}
    layers = [
        [*described[:3], {**described[3], "units": wide[id(layer)]}, *described[4:]]
        if id(layer) in wide
        else described
        for layer, described in zip(
            model._flatten_layers(), parts["layers"], strict=True
        )
    ]
    # The shapes of all variables follow from the layers and the input's.
    kinds = [kind[1:] for kind in parts["variables"]]
    optimizer = parts["optimizer"][:2]
    shape = model.input_shape
    return parts | {
        "layers": layers,
        "variables": kinds,
        "optimizer": optimizer,
        "input": shape,
        "is": "widened",
    }


def _parts(model):
    return {
        "layers": [_layer(layer) for layer in model._flatten_layers()],
        "variables": [
            (tuple(v.shape), str(v.dtype), v.trainable)
            for v in itertools.chain(model.variables, model.metrics_variables)
        ],
        "optimizer": _optimizer(getattr(model, "optimizer", None)),
        "compile": _compiled_parts(model) if model.compiled else None,
    }


def _layer(layer):
    if layer.name == UNIT:  # Its numbers are arguments.
        return [UNIT, type(layer).__name__]
    try:
        with tolerant_of_lambdas(things_in_layers(layer)):
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
    given = dict(model._compile_config.config) if model._compile_config else {}
    given.pop("optimizer", None)  # It is described by itself.
    return {
        "loss": _loss(model.loss),
        # Keras' container of metrics has no configuration; what it was made of has.
        "metrics": [m for m in model.metrics if type(m).__name__ != "CompileMetrics"],
        "config": given,
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
    if isinstance(thing, _Individual):
        return thing.number
    if isinstance(thing, (np.generic, np.ndarray)):
        return thing.tolist()
    if isinstance(thing, types.MethodType):
        return _plain(thing.__func__)
    if isinstance(thing, types.FunctionType):
        return _function(thing)
    if isinstance(thing, type):
        name = [thing.__module__, thing.__qualname__]
        return [*name, _identity(thing, ".".join(name))]
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
    if isinstance(thing, types.ModuleType):
        return _identity(thing, thing.__name__)
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
        _identity(function.__code__, _source(function.__code__)),
        _identity(function.__globals__, str(function.__globals__.get("__name__"))),
        list(function.__defaults__ or ()),
        closure,
    ]


def _source(code):
    """Describe code by what it does and where it stands."""
    parts = (code.co_code, code.co_names, code.co_filename, code.co_firstlineno)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
