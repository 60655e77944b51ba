"""What a function does, and which names it reads, of its code alone."""

import dis
import hashlib
import marshal
import types
from dataclasses import dataclass
from functools import lru_cache

_NAME = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
_CELL = {"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"}
_ATTRIBUTE = {"LOAD_ATTR", "LOAD_METHOD"}


@dataclass(frozen=True)
class Code:
    """A code object's description.

    Attributes
    ----------
    digest : bytes
        The same for code that does the same, wherever it stands.
    reads : tuple of tuple of str
        Names of globals, each with the attributes that are read of it at once:
        ``("pkg", "sub", "ALPHA")``.
    cells : dict of str to list of tuple of str
        The attributes that are read at once of what the code closes over.
    imports : tuple of str
        Modules that are imported when it runs.
    names : frozenset of str
        Every name, and every text that may be one.
    """

    digest: bytes
    reads: tuple[tuple[str, ...], ...]
    cells: dict[str, list[tuple[str, ...]]]
    imports: tuple[str, ...]
    names: frozenset[str]


# Code objects are equal if they do the same, from the same line.
@lru_cache(maxsize=4096)
def described(code):
    """Return the description of a code object, of the code inside it too."""
    reads, cells, imports, names = {}, {}, {}, set()
    for part in _with_nested(code):
        names.update(part.co_names)
        names.update(c for c in part.co_consts if isinstance(c, str))
        for kind, path in _paths(part):
            if kind == "name":
                reads[path] = None
            elif kind == "import":
                imports[path[0]] = None
            elif path[0] in code.co_freevars:
                cells.setdefault(path[0], {})[path[1:]] = None
    return Code(
        hashlib.blake2b(marshal.dumps(_parts(code), 2), digest_size=16).digest(),
        tuple(reads),
        {name: list(paths) for name, paths in cells.items()},
        tuple(imports),
        frozenset(names),
    )


def _with_nested(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_nested(constant)


def _parts(code):
    """Return all of a code object but where it stands."""
    return (
        code.co_name,
        code.co_code,
        tuple(map(_constant, code.co_consts)),
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_flags,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        code.co_exceptiontable,
    )


def _constant(constant):
    if isinstance(constant, types.CodeType):
        return "code", _parts(constant)
    if isinstance(constant, tuple):
        return "tuple", tuple(map(_constant, constant))
    if isinstance(constant, frozenset):  # Their order is another in each process.
        return "set", tuple(sorted(map(repr, constant)))
    return constant


def _paths(code):
    """Yield what kind of name is read, and the name with the attributes read of it."""
    path = kind = None
    for step in dis.get_instructions(code):
        if path is not None and step.opname in _ATTRIBUTE:
            path += (step.argval,)
            continue
        if step.opname in ("CACHE", "PUSH_NULL", "EXTENDED_ARG"):
            continue
        if path is not None:
            yield kind, path
        path = None
        if step.opname in _NAME:
            kind, path = "name", (step.argval,)
        elif step.opname in _CELL:
            kind, path = "cell", (step.argval,)
        elif step.opname == "IMPORT_NAME":
            yield "import", (step.argval,)
    if path is not None:
        yield kind, path
