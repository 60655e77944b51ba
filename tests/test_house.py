"""The house: imports run one way, what is imported with skann is light.

And private names of other libraries stand in one file.
"""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "skann"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# From the ground up: each imports only from those before it.
FLOORS = [
    *("_types", "exceptions", "_runtime", "_data", "models", "_keras", "_training"),
    *("_network",),
    *("_with_keras", "_estimators", "plotting", "search", "skann"),
]
ALONE = {"datasets"}  # Nothing of skann's is imported there.

# Where these are imported, which takes some care.
ONE_WAY_IN = ("skann._runtime.start", "skann._network.scikeras", "skann.datasets")

HEAVY = {"tensorflow", "keras", "scikeras", "h5py"}


def imports_of(name, everywhere=False):
    """Yield the modules that a file imports, at its top or everywhere."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(module):
    """Return the file of skann's that a name is in, or None."""
    while module and module not in FILES:
        module = module.rpartition(".")[0]
    return module if module.startswith("skann") else None


def floor_of(name):
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "skann"


@pytest.mark.parametrize("name", FILES)
def test_imports_run_one_way(name):
    here = floor_of(name)
    found = {floor_of(own(m)) for m in imports_of(name, everywhere=True) if own(m)}
    if here in ALONE:
        assert not found
        return
    above = FLOORS[FLOORS.index(here) + 1 :]
    # The package itself is on the way to all that is in it.
    assert not (found - {"skann"}) & {*above}, (name, found)


def test_every_folder_has_its_floor():
    assert {floor_of(name) for name in FILES} == {*FLOORS, *ALONE}


def imported_with(name, seen=None):
    """Return the files of skann's, and whatever else, that importing one imports."""
    seen = set() if seen is None else seen
    for module in imports_of(name):
        file = own(module)
        if file is None:
            seen.add(module.split(".")[0])
        elif file not in seen:
            seen.add(file)
            imported_with(file, seen)
    return seen


@pytest.mark.parametrize("name", ["skann", "skann.search", "skann.models"])
def test_what_users_import_is_light(name):
    assert not imported_with(name) & HEAVY
    assert "skann._with_keras" not in imported_with(name)


def test_the_heavy_part_is_heavy():
    assert {"tensorflow", "keras"} <= imported_with("skann._with_keras")


def test_no_file_imports_tensorflow_in_a_function():
    for name in FILES:
        inside = set(imports_of(name, everywhere=True)) - set(imports_of(name))
        heavy = {m for m in inside if m.split(".")[0] in HEAVY}
        assert not heavy or name in ONE_WAY_IN, (name, heavy)


PRIVATE = "skann._runtime.private"
LIBRARIES = ("keras.src", "tensorflow.python")

# Of modules and classes of Python's, which nothing is read of.
OF_PYTHON = {"_abc_impl", "_datetime", "_io", "_random", "_socket", "_thread"}

# Texts that are no names but parts of some.
PARTS = {"_initializer", "_kwargs"}


def is_private(name):
    return re.fullmatch(r"_[a-zA-Z]\w*", name) is not None


def private_names_in(tree):
    """Yield the private names that are used in code: by attribute, import or text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield from filter(is_private, [node.attr])
        elif isinstance(node, ast.ImportFrom) and not node.module.startswith("skann"):
            names = [alias.name for alias in node.names]
            yield from filter(is_private, [*node.module.split("."), *names])
            yield from [node.module] * node.module.startswith(LIBRARIES)
        elif isinstance(node, ast.Constant):
            text = str(node.value)
            yield from [text] * (is_private(text) or text.startswith(LIBRARIES))


def names_given_in(tree):
    """Return the names of functions, classes, variables and attributes of objects."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.Attribute):
                names |= {node.attr} if ast.unparse(node.value) in OBJECTS else set()
    return names


OBJECTS = {"self", "clone"}

TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}
GIVEN = {name: names_given_in(tree) for name, tree in TREES.items()}
PRIVATE_NAMES = {*private_names_in(TREES[PRIVATE])} - GIVEN[PRIVATE]


@pytest.mark.parametrize("name", sorted(FILES.keys() - {PRIVATE}))
def test_private_names_of_libraries_stand_in_one_file(name):
    ours = set().union(*(GIVEN[other] for other in FILES if other != PRIVATE))
    # A name of both is skann's where the file itself gives it.
    known = (ours - PRIVATE_NAMES) | GIVEN[name] | OF_PYTHON | PARTS
    assert not {*private_names_in(TREES[name])} - known
