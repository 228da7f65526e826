"""Nothing in the package runs what data names, and no SQL is made from values. Read from the source, never by running
it. (``test_house`` forbids pickle, eval and imports by name.)"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent / "flowcore"
FILES = sorted(HOUSE.rglob("*.py"))
MODULES = {
    "pickle",
    "cPickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "jsonpickle",
    "joblib",
    "yaml",
    "dbm",
    "code",
}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "runpy.run_module",
    "importlib.__import__", "pkgutil.resolve_name", "types.FunctionType", "builtins.eval", "builtins.exec",
}  # fmt: skip
BY_NAME = {
    "__init__.py": "the facade's own table",
    "models/__init__.py": "the facade's own table",
    "mcp/__init__.py": "the facade's own table",
    "tracing/__init__.py": "the facade's own table",
    "testing/__init__.py": "the facade's own table",
    "sdk_paths.py": "the facade's own table",
    "extensions/memory/__init__.py": "the facade's own table",
    "engine/run.py": "`run.replay()` reaches for the roof by a name that stands in the code",
    "faces/loading.py": "a Python file that a person names, on the command line or as a test's parameter",
    "testing/cases.py": "a module that a test names",
    "testing/faults/zygote.py": "a table of what is imported once for all processes",
}
"""Who may import by name, besides the command line, which loads the file that its user names, and why."""
PROCESSES = {
    "testing/faults": "kills and watches the processes that it starts itself, by a list of arguments",
}
"""Who may start processes, and why. Never through a shell."""
SQL = ("execute", "executemany", "executescript")
"""What takes a statement as its first argument."""
HELPERS = {"stores/postgres_read.py": "_fetch", "stores/sqlite_sums.py": "_pages"}
"""Who hands a statement through, its second argument: that is looked at where they're called."""
STATIC = {
    "stores/postgres_line.py": "what `postgres_write.beat` gives, static text",
    "stores/postgres_schema.py": "CREATE SCHEMA with the quoted name, and statements with it in the place of '@'",
    "stores/postgres_rotation.py": "statements of a table of its own, made of constants when it's imported",
    "stores/sqlite_rotation.py": "statements of a table of its own",
    "stores/sqlite_schema.py": "the steps of STEPS, and pragmas with constants",
    "sessions/sqlite_tables.py": "names of tables that `checked_tables` has admitted",
    "sessions/sqlite.py": "names of tables that `checked_tables` has admitted",
    "sessions/branch_tables.py": "names of tables that `checked_tables` has admitted",
    "sessions/advanced.py": "names of tables that `checked_tables` has admitted",
    "sessions/sqlalchemy.py": "expressions of SQLAlchemy, which binds their values",
    "testing/faults/servers.py": "settings of a server of its own",
}
"""Whose statements hold more than constants, and what."""


def name_of(file: Path) -> str:
    return str(file.relative_to(HOUSE))


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_module_that_makes_code_from_data_is_used() -> None:
    for file, node in ((one, node) for one in FILES for node in ast.walk(tree_of(one))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not MODULES & {name.partition(".")[0] for name in names}, f"{name_of(file)}:{node.lineno}"  # type: ignore[attr-defined]


def test_nothing_is_run_or_imported_by_a_name_from_data() -> None:
    for file, (called, call) in ((one, call) for one in FILES for call in calls(one)):
        where = f"{name_of(file)}:{call.lineno} calls {called}"
        assert called not in CALLS, where
        if called.endswith(("import_module", "spec_from_file_location", "exec_module")):
            assert name_of(file) in BY_NAME or name_of(file).startswith("cli/"), where
        if called.startswith(("subprocess.", "asyncio.create_subprocess", "os.exec", "os.spawn", "os.posix_spawn")):
            assert any(name_of(file).startswith(one) for one in PROCESSES), where
        assert not any(one.arg == "shell" for one in call.keywords), where
        assert "create_subprocess_shell" not in called, where


def test_statements_are_static_text_with_bound_parameters() -> None:
    for file in FILES:
        if name_of(file) not in STATIC:
            _look_at_statements(file)


def _look_at_statements(file: Path) -> None:
    tree = tree_of(file)
    helper = HELPERS.get(name_of(file), "")
    known = {  # local names of which each value is static, and what a helper is given
        target.id: one.value
        for one in ast.walk(tree)
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name) and _static(one.value)
    }
    inside = {
        id(node)
        for one in ast.walk(tree)
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and one.name == helper
        for node in ast.walk(one)
    }
    for call in (one for one in ast.walk(tree) if isinstance(one, ast.Call) and id(one) not in inside):
        called = ast.unparse(call.func).rpartition(".")[2]
        if called not in (*SQL, helper) or not call.args:
            continue
        sql = call.args[called == helper]
        fits = _static(sql) or (isinstance(sql, ast.Name) and sql.id in known)
        assert fits, f"{name_of(file)}:{call.lineno}: {ast.unparse(sql)[:80]}"


def _static(sql: ast.expr) -> bool:
    """Whether a statement is made of constants alone: texts, and names in capitals, which stand for such."""
    if isinstance(sql, ast.JoinedStr):
        return all(_static(part.value if isinstance(part, ast.FormattedValue) else part) for part in sql.values)
    if isinstance(sql, ast.BinOp):
        return _static(sql.left) and _static(sql.right)
    if isinstance(sql, ast.Subscript):  # a table of statements
        return _static(sql.value)
    if isinstance(sql, ast.Call):  # a store's schema takes the place of '@' in a static text: Names.sql
        return ast.unparse(sql.func) in ("names.sql", "self._names.sql", "names.script") and _static(sql.args[0])
    name = sql.attr if isinstance(sql, ast.Attribute) else sql.id if isinstance(sql, ast.Name) else ""
    return isinstance(sql, ast.Constant) or (bool(name) and name == name.upper())


def test_every_exception_still_stands_for_a_file() -> None:
    for allowed in (*STATIC, *BY_NAME, *PROCESSES):
        assert (HOUSE / allowed).exists(), allowed
