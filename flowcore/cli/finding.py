"""Which graph a stored run walks through: by name and fingerprint, among files that the user named."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from flowcore.errors import FlowcoreError
from flowcore.faces.loading import Loaded, LoadError, graphs_in, named, split
from flowcore.stores.base import IndexRow

PROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Found:
    """A run's graph. ``warning``: what is to be said about it, if anything."""

    loaded: Loaded
    warning: str | None = None


def find_graph(row: IndexRow, spec: str | None, folder: Path) -> Found:
    """The graph of a run in ``spec`` (FILE or FILE:name), or among the files that ``folder``'s project names.

    Raises LoadError, which lists what was found.
    """
    if spec is None:
        return _among(row, _project_files(row, folder))
    file, name = split(spec)
    if name is not None:
        return _checked(row, named(graphs_in(file), file, name))
    return _among(row, [file], strict=True)


def _checked(row: IndexRow, loaded: Loaded) -> Found:
    """A graph that was named: taken whatever it's called."""
    graph = loaded.graph
    if graph.name != row.graph:
        return Found(loaded, f"run {row.run} was begun with graph '{row.graph}'; {loaded} is '{graph.name}'")
    return Found(loaded, _changed(row, loaded))


def _changed(row: IndexRow, loaded: Loaded) -> str | None:
    if loaded.graph.fingerprint == row.fingerprint:
        return None
    return (
        f"graph '{row.graph}' of {loaded} has changed since the run began"
        f" ({row.fingerprint} then, {loaded.graph.fingerprint} now); "
        + ("it's migrated" if row.fingerprint in loaded.graph.migrations else "trying it")
    )


def _among(row: IndexRow, files: list[Path], *, strict: bool = False) -> Found:
    """The graph of the run's name in files, rather the one of its fingerprint. ``strict``: every file has to load."""
    others: list[str] = []
    same_name: list[Loaded] = []
    for file in sorted(files, key=lambda one: not _mentions(one, row.graph)):
        try:
            found = [(one, one.graph.name) for one in graphs_in(file)]
        except FlowcoreError as error:
            if strict:
                raise
            others.append(f"{file} (it can't be loaded: {error.message.splitlines()[0]})")
            continue
        for one, name in found:
            if name != row.graph:
                others.append(f"'{name}' ({one})")
            elif one.graph.fingerprint == row.fingerprint:
                return Found(one)
            else:
                same_name.append(one)
    if len(same_name) == 1:
        return Found(same_name[0], _changed(row, same_name[0]))
    if same_name:
        listed = ", ".join(map(str, same_name))
        raise LoadError(
            f"run {row.run} was begun with a graph '{row.graph}' ({row.fingerprint}) that has changed since, and there"
            f" are several of that name: {listed}; give one as FILE:name"
        )
    listed = ", ".join(others) or "none"
    raise LoadError(f"run {row.run} needs graph '{row.graph}', which isn't here; the graphs found are: {listed}")


def _mentions(file: Path, name: str) -> bool:
    """Whether a file has the graph's name in its text: such files are looked at first, the others seldom at all."""
    try:
        return name in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _project_files(row: IndexRow, folder: Path) -> list[Path]:
    """The files that ``[tool.flowcore] graphs`` names. Raises LoadError where it names none."""
    hint = f"give the file of graph '{row.graph}', e.g. `flowcore resume {row.run} FILE`"
    project = folder / PROJECT
    if not project.is_file():
        raise LoadError(f"there's no {PROJECT} here whose [tool.flowcore] graphs could name it: {hint}")
    try:
        given = tomllib.loads(project.read_text(encoding="utf-8")).get("tool", {}).get("flowcore", {}).get("graphs")
    except (OSError, ValueError) as error:
        raise LoadError(f"{PROJECT} can't be read ({error}): {hint}") from None
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise LoadError(f"{PROJECT} has no list [tool.flowcore] graphs: {hint}")
    try:
        files = {path for pattern in given for path in folder.glob(pattern) if path.is_file()}
    except (NotImplementedError, ValueError) as error:
        raise LoadError(f"{PROJECT}: [tool.flowcore] graphs = {given}: {error}") from None
    if not files:
        raise LoadError(f"{PROJECT}: [tool.flowcore] graphs = {given} matches no file: {hint}")
    return sorted(path.relative_to(folder) for path in files)
