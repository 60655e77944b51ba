"""What decides how a model is traced, in a digest that is equal where it is the same.

Everything that can be reached from a model, its loss, metrics and optimizer is walked
through: attributes, containers, arrays, functions with their code, what they close
over, their defaults, and the globals that they read. Parts of libraries are described
by name and by the attributes of instances, all else by what it is made of, so that what
is made anew in the same way, or comes in a pickle, has the same description. What
cannot be described is like nothing else, and so is a model that holds it.
"""

import hashlib
import marshal
import types
from dataclasses import dataclass
from functools import lru_cache

from skann._keras.fingerprint.bookkeeping import is_ignored
from skann._keras.fingerprint.kinds import ATOMS, UNNUMBERED, slots, visit_for
from skann._keras.fingerprint.libraries import is_impure, is_the_engines
from skann._keras.lending import own_values
from skann._runtime.private import NAMES

# To describe more things would take longer than to trace once more.
_MOST_THINGS = 100_000

_MAY_BE = types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type

_REPLACED_IN_TRACING = ("call", "train_step", "update_state")

# Code with one of these words may read what a layer or a variable is called.
_WORDS_FOR_NAMES = {"get_layer", "input_names", "name", "output_names", "path"}
_WORDS_FOR_NAMES |= NAMES


@dataclass(frozen=True)
class Description:
    """What a program depends on.

    Attributes
    ----------
    digest : str
        Equal in every process for what is made in the same way.
    is_unique : bool
        Whether it holds what is like nothing else.
    same : tuple
        Objects that are like nothing but themselves.
    has_own_code : bool
        Whether it holds code that is no library's.
    reads_names : bool
        Whether names of layers and variables count, and their initializers.
    """

    digest: str
    is_unique: bool
    same: tuple[object, ...]
    has_own_code: bool
    reads_names: bool

    @property
    def key(self):
        """What is equal where programs can be shared; None where they never can.

        As long as `same` is held.
        """
        return None if self.is_unique else (self.digest, *map(id, self.same))


def describe(things, arguments, **how):
    """Return the description of things.

    Parameters
    ----------
    things : list
    arguments : list of keras.Variable
        Variables that are arguments of the program, in its order. Their values are no
        part of the description; another variable is like nothing else.
    instead : dict of (int, str) to object, default={}
        What stands in for attributes, by the id of their object and their name.
    left_out : set of (int, str), default=set()
        Attributes that are arguments of the program too, in the same way.
    with_shapes : bool, default=True
        Whether the shapes of variables and symbolic tensors count.

    Returns
    -------
    Description
    """
    description = _Walk(arguments, **how).through(things)
    if description.reads_names:
        return _Walk(arguments, with_names=True, **how).through(things)
    return description


class _TooMuch(Exception):
    """Where a walk goes through more than is worth it."""


class _Walk:
    """One walk: tokens of what was seen, and the number of each thing.

    The methods are for the functions of ``kinds.py``.
    """

    def __init__(
        self, arguments, instead=None, left_out=(), with_shapes=True, with_names=False
    ):
        self.arguments = {id(v): i for i, v in enumerate(arguments)}
        self.arguments |= {id(v): i for i, v in enumerate(own_values(arguments))}
        self.with_shapes = with_shapes
        self.with_names = with_names
        self.tokens = []
        self.words = set()
        self.has_own_code = False
        self.bare_modules = []
        self.initializers = set()  # Attributes that hold one and were left out.
        self._instead = instead or {}
        self._left_out = left_out
        self._is_unique = False
        self._same = []
        self._numbers = {}
        # While a thing is held, no other one takes its address.
        self._held = []

    def through(self, things):
        """Return the description of things."""
        text = b""
        try:
            for thing in things:
                self.visit(thing)
            if any(map(self._may_read_impure, self.bare_modules)):
                self.unique()
            text = marshal.dumps(self.tokens, 2)
        except Exception:  # Too much, or what a user's objects raise when looked at.
            self.unique()
        return Description(
            hashlib.sha256(text).hexdigest(),
            self._is_unique,
            tuple(self._same),
            self.has_own_code,
            bool(self.words & (_WORDS_FOR_NAMES | self.initializers)),
        )

    def _may_read_impure(self, module):
        """Whether the user's code has a word for something impure in a module."""
        known = vars(module)
        found = [known[word] for word in self.words & known.keys()]
        self.bare_modules += [
            thing
            for thing in found
            if isinstance(thing, types.ModuleType) and thing not in self.bare_modules
        ]
        return any(is_impure(thing) for thing in found if isinstance(thing, _MAY_BE))

    def unique(self):
        """Note something that is like nothing else."""
        self._is_unique = True
        self.tokens.append(("unique",))

    def only_itself(self, thing):
        """Note something that is like nothing but itself."""
        self._same.append(thing)
        self.tokens.append(("itself",))

    def is_new(self, thing):
        """Give a thing its number, or note that it was seen before."""
        number = self._numbers.get(id(thing))
        if number is not None:
            self.tokens.append(("seen", number))
            return False
        self._numbers[id(thing)] = len(self._numbers)
        self._held.append(thing)
        return True

    def visit(self, thing):
        """Describe a thing."""
        kind = type(thing)
        if kind in ATOMS:
            self.tokens.append(thing)
            return
        if len(self.tokens) > _MOST_THINGS:
            raise _TooMuch
        visit = visit_for(kind)
        if visit in UNNUMBERED or self.is_new(thing):
            visit(self, thing)

    def visit_all(self, kind, things):
        """Describe things in their order."""
        things = list(things)
        self.tokens.append((kind, len(things)))
        for thing in things:
            self.visit(thing)

    def visit_pairs(self, kind, pairs):
        """Describe keys and values in their order."""
        pairs = list(pairs)
        self.tokens.append((kind, len(pairs)))
        for key, value in pairs:
            self.visit(key)
            self.visit(value)

    def visit_set(self, things):
        """Describe things that have no order, each by itself."""
        self.tokens.append(("set", *sorted(map(self._apart, things))))

    def _apart(self, thing):
        tokens, numbers = self.tokens, self._numbers
        self.tokens, self._numbers = [], dict(numbers)
        try:
            self.visit(thing)
            return marshal.dumps(self.tokens, 2)
        finally:
            self.tokens, self._numbers = tokens, numbers

    def visit_attributes(self, thing, but=()):
        """Describe what an instance holds by name, but for some."""
        held = getattr(thing, "__dict__", None)
        if held:
            self._visit_attributes(thing, held, but)
        for name in slots(type(thing)):
            self.tokens.append(("slot", name))
            self.visit(getattr(thing, name, None))

    def _visit_attributes(self, thing, held, but):
        me, tokens = id(thing), self.tokens
        names = _names_in_order(type(thing), tuple(held), self.with_names)
        # While another thread traces the model, it has such methods.
        replaced = [n for n in _REPLACED_IN_TRACING if n in held]
        but = {*but, *(n for n in replaced if is_the_engines(held[n]))}
        if but or self._left_out:
            out = self._left_out
            names = [n for n in names if n not in but and (me, n) not in out]
        tokens.append(("attributes", len(names)))
        for name in names:
            tokens.append(name)
            value = held.get(name)
            if self._instead:
                value = self._instead.get((me, name), value)
            if type(value) in ATOMS:
                tokens.append(value)
            else:
                self.visit(value)


# Most instances of a class hold the same names.
@lru_cache(maxsize=4096)
def _names_in_order(cls, names, with_names):
    """Return which of an instance's attributes are described, sorted."""
    return sorted(n for n in names if not is_ignored(n, cls, with_names))
