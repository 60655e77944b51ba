"""The size of a network that parameters ask for, before anything of it is made."""

import contextlib
import itertools
import math
import os
from pathlib import Path

from skann._network.arguments import filled_in, is_own, signature_parameters

# What Keras' objects of one layer take, at least.
_BYTES_OF_A_LAYER = 20_000

_SIZES = ("n_hidden", "n_neurons", "hidden_layer_sizes")


def check_size(params, defaults, problem):
    """Raise ValueError for a network that the memory of this machine cannot hold.

    Of a network of the user's own the first layer is estimated, and only where the
    sizes were set.
    """
    given = {**params, **(params["model_kwargs"] or {})}
    build_fn = params["model"]
    takes, _ = signature_parameters(build_fn)
    is_set = [n for n in _SIZES if n in takes and given[n] is not None]
    if not is_set:
        return
    filled = filled_in({**params, **{n: given[n] for n in is_set}}, defaults)
    try:
        n_layers, n_weights = _counted(filled, problem, is_own(build_fn))
    except (TypeError, ValueError):  # Sizes in a form of the user's own.
        return
    needed = n_layers * _BYTES_OF_A_LAYER + n_weights * _bytes_of_a_weight(filled)
    if needed > memory():
        asked = ", ".join(f"{name}={_short(given[name])}" for name in is_set)
        raise ValueError(
            f"{asked} ask for a network of {_rounded(n_weights)} weights in "
            f"{_rounded(n_layers)} layers, more than the memory of this machine can "
            "train."
        )


def _counted(filled, problem, is_own_network):
    """Return the number of layers and of weights."""
    sizes, n_repeated = filled["hidden_layer_sizes"], 0
    if sizes is None:
        n_hidden, size = int(filled["n_hidden"]), int(filled["n_neurons"])
        sizes, n_repeated = [size] * min(n_hidden, 1), max(n_hidden - 1, 0)
    units = [math.prod(problem.input_shape), *map(int, sizes), problem.n_outputs]
    if not is_own_network:
        units = units[:2]
    layers = [(a + 1) * b for a, b in itertools.pairwise(units)]
    repeated = n_repeated * (units[1] + 1) * units[1] if is_own_network else 0
    return len(layers) + n_repeated, sum(layers) + repeated


def _bytes_of_a_weight(filled):
    """With its gradient, and the two averages that most optimizers keep."""
    copies = 2 if filled["optimizer"] == "sgd" else 4
    return copies * (8 if filled["dtype"] == "float64" else 4)


def memory():
    """Return the bytes of memory that there are, as far as that can be known."""
    found = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Not on Windows.
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):  # "max", or no such group.
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


def _short(value):
    text = repr(value)
    return text if len(text) < 50 else f"{text[:47]}..."


def _rounded(number):
    return number if number < 10**6 else f"10**{len(str(number)) - 1}"
