"""From a file to the graphs in it. A path is only ever one that the user gave, never one from a store."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from flowcore.errors import FlowcoreError, UserError
from flowcore.graph.graph import Graph

PREFERRED = "graph"


class LoadError(UserError):
    """A file couldn't be loaded."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A graph, or something with a ``.graph``, that the module of ``file`` calls ``name``."""

    file: Path
    module: ModuleType
    name: str
    target: Any

    @property
    def graph(self) -> Graph:
        """The graph. Raises GraphError when it can't be built."""
        found: Graph = self.target if isinstance(self.target, Graph) else self.target.graph
        return found.build()

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"


def load(spec: str) -> Loaded:
    """The graph of ``FILE`` or ``FILE:name``: ``graph``, or else the only one there. Raises LoadError, GraphError."""
    file, name = split(spec)
    found = graphs_in(file)
    if name is not None:
        return named(found, file, name)
    for one in found:
        if one.name == PREFERRED:
            return one
    if len(found) == 1:
        return found[0]
    if not found:
        raise LoadError(f"{file} has no Graph and no Agent at its top level; name one `graph`")
    listed = ", ".join(f"{file}:{one.name}" for one in found)
    raise LoadError(f"{file} has {len(found)} graphs and none is called `graph`; choose one: {listed}")


def named(found: list[Loaded], file: Path, name: str) -> Loaded:
    """The one of this name. Raises LoadError."""
    for one in found:
        if one.name == name:
            return one
    listed = ", ".join(one.name for one in found) or "none"
    raise LoadError(f"{file} has no graph called `{name}` at its top level; its graphs are: {listed}")


def split(spec: str) -> tuple[Path, str | None]:
    """``FILE`` and the name after its last colon, if there is one."""
    path, colon, name = spec.rpartition(":")
    if colon and name.isidentifier() and not Path(spec).exists():
        return Path(path), name
    return Path(spec), None


def graphs_in(file: Path) -> list[Loaded]:
    """What of a file's module is a graph or has one, in order; one object once. Raises LoadError, GraphError."""
    module = module_of(file)
    found: dict[int, Loaded] = {}
    for name, target in vars(module).items():
        there = found.get(id(target))
        if not name.startswith("_") and _has_graph(target) and (there is None or name == PREFERRED):
            found[id(target)] = Loaded(file, module, name, target)
    return list(found.values())


def _has_graph(target: Any) -> bool:
    if isinstance(target, Graph):
        return True
    declared = inspect.getattr_static(target, "graph", None)
    if declared is None or isinstance(target, (type, ModuleType)):
        return False
    if isinstance(declared, Graph):
        return True
    agents = sys.modules.get("flowcore.agents.agent")  # a file that declares an agent has imported it
    if agents is not None and isinstance(target, agents.AgentSpec):
        return True
    try:
        return isinstance(target.graph, Graph)
    except Exception:  # somebody's property
        return False


def module_of(file: Path) -> ModuleType:
    """Run a Python file as a module; its folder is where it imports from, as with ``python FILE``. Raises LoadError."""
    if not file.is_file():
        if file.is_dir():
            raise LoadError(f"{file} is a directory; give a Python file in it")
        raise LoadError(f"there's no file {file}")
    path = file.resolve()
    name = f"flowcore_file_{path.stem}"
    there = sys.modules.get(name)
    if there is not None:
        if getattr(there, "__file__", None) == str(path):
            return there
        name += f"_{len(sys.modules)}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{file} isn't a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints and pydantic look their names up there
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (KeyboardInterrupt, FlowcoreError)):
            raise
        raise LoadError(f"{_place(error, path, file)}: {type(error).__name__}: {_text(error)}") from error
    return module


def _place(error: BaseException, path: Path, file: Path) -> str:
    """``FILE:line`` of the last line of the file that was at work."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{file}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{file}:{lines[-1]}" if lines else str(file)


def _text(error: BaseException) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error)
