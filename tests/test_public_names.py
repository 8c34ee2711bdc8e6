"""The names that programs use: all there, from where they are said to be, and free until they are used."""

import ast
import inspect
import subprocess
import sys

import pytest

import daemonry

HEAVY = {
    "asyncio",
    "logging",
    "socket",
    "json",
    "re",
    "typing",
    "dataclasses",
    "msgspec",
    "subprocess",
    "uvloop",
}


def loaded_by(statement):
    """The modules that a statement loads in a fresh interpreter without site packages' own start-up."""
    script = f"import sys; before = set(sys.modules)\n{statement}\nprint(*sorted(set(sys.modules) - before))"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True).split())


def names_for_type_checkers():
    for node in ast.walk(ast.parse(inspect.getsource(daemonry))):
        if isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name) for alias in node.names)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("name", daemonry.__all__)
def test_every_public_name_is_there(name):
    """Requirement M9: the package re-exports its public names."""
    assert getattr(daemonry, name) is not None
    assert name in dir(daemonry)


def test_what_is_public_is_what_type_checkers_are_told():
    told = {name for name in names_for_type_checkers() if not name.startswith("_")}
    assert told - {"Any", "annotations", "errors"} == set(daemonry.__all__) - {"__version__"}


def test_every_public_name_is_in_the_tour():
    missing = [name for name in daemonry.__all__ if name not in daemonry.__doc__]
    assert set(missing) <= {"__version__", "DaemonryError"}


def test_a_name_is_looked_up_once():
    first = daemonry.Endpoint
    assert vars(daemonry)["Endpoint"] is first


def test_a_name_that_is_none_is_told():
    with pytest.raises(AttributeError, match="module 'daemonry' has no attribute 'Deamon'"):
        _ = daemonry.Deamon


def test_the_errors_are_at_hand():
    assert daemonry.errors.DaemonryError is daemonry.DaemonryError


def test_importing_the_package_costs_next_to_nothing():
    loaded = loaded_by("import daemonry")
    assert {name for name in loaded if name.startswith("daemonry")} == {"daemonry"}
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "statement",
    [
        "import daemonry.errors",
        "import daemonry.values",
        "import daemonry.limits",
        "import daemonry.backoff",
        "import daemonry.strict_json",
        "import daemonry.wire.text",
        "import daemonry.transport.connect",
        "import daemonry.service.client.text",
        "import daemonry.process.place",
        "import daemonry.process.lock",
        "import daemonry.process.record",
    ],
)
def test_what_a_quick_command_needs_loads_nothing_heavy(statement):
    """A `status` must stay within 1.4 times bare Python; asyncio alone is three times that."""
    assert loaded_by(statement) & HEAVY == set()


@pytest.mark.parametrize("module", ["errors", "limits", "values"])
def test_a_leaf_needs_nothing_of_ours(module):
    ours = {name for name in loaded_by(f"import daemonry.{module}") if name.startswith("daemonry")}
    assert {name for name in ours if not name.startswith(f"daemonry.{module}")} == {"daemonry"}
