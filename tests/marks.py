"""What a process can be told by: a snapshot, to be compared with another one.

``python marks.py MODULE ...`` imports modules and prints a snapshot as JSON; where
skann is one of them, another after it was put to use.
"""

import gc
import importlib
import json
import locale
import logging
import os
import random
import signal
import sys
import threading
import types
import warnings
import zlib
from pathlib import Path

import numpy as np


def snapshot():
    """Return what is everybody's in this process, as far as Python shows it."""
    import keras
    from tensorflow.python.eager import context

    config = keras.config
    return {
        "environment": dict(os.environ),
        "directory": [os.getcwd(), _umask(), locale.setlocale(locale.LC_ALL)],
        "garbage": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
        "signals": {s.name: str(signal.getsignal(s)) for s in signal.Signals},
        "system": [
            sys.stdout is sys.__stdout__,
            sys.stderr is sys.__stderr__,
            sys.excepthook is sys.__excepthook__,
            sys.getrecursionlimit(),
            sys.getswitchinterval(),
        ],
        "warnings": [[str(part) for part in f] for f in warnings.filters],
        "loggers": {name: _logger(name) for name in _LOGGERS},
        "random": [
            zlib.crc32(repr(random.getstate()).encode()),
            zlib.crc32(np.random.get_state()[1].tobytes()),  # noqa: NPY002
            context.context()._seed,
        ],
        "keras": [
            config.floatx(),
            config.epsilon(),
            config.image_data_format(),
            config.dtype_policy().name,
            config.is_interactive_logging_enabled(),
            config.is_traceback_filtering_enabled(),
        ],
        "threads": sorted(
            thread.name for thread in threading.enumerate() if not thread.daemon
        ),
        "open files": _open_files(),
        "files": sorted(
            str(path.relative_to(os.environ["HOME"]))
            for path in Path(os.environ["HOME"]).rglob("*")
            if path.is_file()
        ),
        "modules": {
            name: _module(module)
            for name, module in sorted(sys.modules.items())
            if name.partition(".")[0] in _PATCHED
            and type(module) is types.ModuleType
            and not name.endswith("_pb2")  # Protocol buffers fill in their classes.
        },
    }


_LOGGERS = ("", "absl", "tensorflow", "keras", "h5py", "sklearn", "py.warnings")
_PATCHED = ("keras", "sklearn", "random", "warnings", "logging", "copyreg", "pickle")
_PATCHED += ("tensorflow", "inspect", "copy", "joblib", "threadpoolctl", "os", "gc")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _logger(name):
    logger = logging.getLogger(name)
    handlers = [type(handler).__name__ for handler in logger.handlers]
    return [logger.level, handlers, logger.propagate, logger.disabled]


def _open_files():
    here = Path("/proc/self/fd")
    if not here.is_dir():
        return []
    links = (os.readlink(path) for path in here.iterdir() if path.is_symlink())
    return sorted(link.partition(":[")[0] for link in links)  # Pipes are numbered.


def _module(module):
    """Return what the functions and classes of a module are."""
    held = {}
    for name, value in list(vars(module).items()):
        if isinstance(value, type):
            held[name] = _name(value)
            if value.__module__ == module.__name__:
                parts = {key: _name(part) for key, part in vars(value).items()}
                # Python makes these when they are looked at, or something is copied.
                for key in ("__annotations__", "__slotnames__"):
                    parts.pop(key, None)
                held[f"{name}'s"] = sorted(parts.items())
        elif callable(value):
            held[name] = _name(value)
    return held


def _name(thing):
    thing = getattr(thing, "__func__", thing)
    if not callable(thing):
        return type(thing).__name__
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return f"{getattr(thing, '__module__', '')} {name}"


def use():
    """Fit, predict, pickle, copy and search, by each engine."""
    import copy
    import pickle

    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    from skann import MLPKerasClassifier, MLPKerasRegressor

    X = np.random.default_rng(0).normal(size=(60, 3))
    y = X.sum(axis=1)
    how = {"n_hidden": 1, "n_neurons": 4, "random_state": 0}
    estimators = [
        MLPKerasClassifier(**how, epochs=2).fit(X, y > 0),
        MLPKerasRegressor(**how, epochs=2, dropout=0.1).fit(X, y),
        MLPKerasRegressor(**how, epochs=2, engine="keras").fit(X, y),
        MLPKerasRegressor(**how, epochs=101, batch_size=3, dropout=0.1).fit(X, y),
        MLPKerasRegressor(_build, epochs=2, random_state=0).fit(X, y),
        MLPKerasRegressor(**how, activation=lambda z: z * z, epochs=2).fit(X, y),
    ]
    assert {e.engine_ for e in estimators} == {"numpy", "graph", "compiled", "keras"}
    for estimator in estimators:
        estimator.predict(X)
        estimator.model_.get_weights()
        copy.deepcopy(estimator).predict(X)
        clone(estimator)
        if callable(estimator.activation):
            continue
        pickle.loads(pickle.dumps(estimator)).partial_fit(X, estimator.predict(X))
    GridSearchCV(MLPKerasRegressor(**how), {"epochs": [1, 2]}, cv=2).fit(X, y)


def _build(input_shape):
    import keras

    # Draws from every global generator there is.
    units = random.randint(2, 4) + np.random.randint(2)  # noqa: NPY002
    kernel = keras.initializers.RandomNormal()
    layers = [keras.layers.Dense(units, kernel_initializer=kernel)]
    return keras.Sequential([keras.Input(input_shape), *layers, keras.layers.Dense(1)])


if __name__ == "__main__":
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    for module in sys.argv[1:]:
        importlib.import_module(module)
    print(json.dumps(snapshot()))
    if "skann" in sys.argv:
        use()
        print(json.dumps(snapshot()))
