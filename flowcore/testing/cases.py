"""A run from a store as a test: a pytest file that walks the graph again by what was recorded, offline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from flowcore.errors import UserError
from flowcore.faces import loading
from flowcore.graph.graph import Graph
from flowcore.graph.state import listed
from flowcore.machine.facts import Fact, Rested, Resumed, Standing, Transition
from flowcore.machine.fold import fold_all
from flowcore.machine.walk import path
from flowcore.stores.base import Store
from flowcore.testing.literals import literal, short
from flowcore.testing.recording import Recording
from flowcore.testing.replaying import history_of
from flowcore.testing.walks import journals

_FILE = '''"""Run {run} of graph {graph} as a test: {steps}, and it stands `{standing}`.

Written from the run's journal. The graph's nodes run again; what the model said, what tools and effects gave, the
answers and the time are those of RECORDING, so there is no network, no tool and no store. Edit it as you like: what is
asserted stands at the end. It holds what the run held: look through it before you share it.
"""

from flowcore.testing import assert_path, load_graph, play_sync

CONTEXT = None  # the object that the app gives its runs (`context=...`), where nodes need one

RECORDING = {recording}

PATH = {path}


def test_{slug}():
    graph = load_graph({ref}, {name}, near=__file__)
    run = play_sync(RECORDING, graph, context=CONTEXT)
    assert_path(run, PATH)
{asserts}
'''


async def write_test_case(
    store: Store, run_id: str, graph_ref: str, *, out: str | Path | None = None, graph: Any = None,
    overwrite: bool = False,
) -> str:  # fmt: skip
    """Write a stored run as a pytest file, and return its text.

    ``graph_ref``: where the test finds the graph: ``graphs/support.py``, ``graphs/support.py:support``, or a module's
    name in place of the file. ``out``: the file to write; none without it. ``graph``: the graph itself, where the
    caller has loaded it already. The test walks the graph by the recorded
    replies, tool outputs, effects, answers and times, and asserts the path and how it ended.

    Raises RunNotFound, UserError (a child run; no such graph; a file that exists, unless ``overwrite``, or
    that can't be written).
    """
    row = await store.get(run_id)
    if row.root != run_id:
        raise UserError(f"'{run_id}' is a child run: write its root '{row.root}', the child is part of it")
    recorded = await journals(store, run_id)
    record = Recording.of(recorded, run_id)
    record.history = await history_of(store, recorded[run_id])
    found = load_graph(graph_ref, row.graph) if graph is None else graph
    text = _text(record, recorded[run_id], graph_ref, getattr(found, "graph", found))
    if out is not None:
        _write(Path(out), text, overwrite)
    return text


def _write(file: Path, text: str, overwrite: bool) -> None:
    if file.exists() and not overwrite:
        raise UserError(f"{file} exists; give another name, or overwrite=True")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file} can't be written ({error.strerror or error}); give another name") from None


def _text(record: Recording, facts: Sequence[Fact], graph_ref: str, graph: Graph) -> str:
    standing, error = _ended(facts)
    steps = [(step.node, step.on) for step in path(facts)]
    broken = bool(record.steps) and record.steps[-1].open == "broken" and standing != "failed"
    count = f"{len(steps)} transition{'s' if len(steps) != 1 else ''}"
    walk = "[\n" + "".join(f"    {short(step)},\n" for step in steps) + "]"
    if broken:
        walk = f"{walk[:-1]}    ...,  # the record breaks off here\n]"
    return _FILE.format(
        run=_in_docstring(record.run_id),
        graph=_in_docstring(record.graph),
        steps=count,
        standing=standing,
        recording=literal(record.to_data()),
        path=walk,
        slug=f"{_slug(record.graph)}_run_{_slug(record.run_id)[:12].strip('_')}",
        name=short(record.graph),
        ref=short(graph_ref),
        asserts="" if broken else "\n".join(f"    {line}" for line in _asserts(graph, facts, standing, error)),
    )


def _ended(facts: Sequence[Fact]) -> tuple[Standing, dict[str, Any] | None]:
    """How a run stood after its last fact, as far as a reader needs it."""
    last = next((fact for fact in reversed(facts) if type(fact) in (Transition, Rested, Resumed)), None)
    if type(last) is Rested:
        return last.standing, last.error
    return ("done" if type(last) is Transition and last.to == "END" else "running"), None


def _asserts(graph: Graph, facts: Sequence[Fact], standing: Standing, error: dict[str, Any] | None) -> Iterator[str]:
    yield f'assert run.standing == "{standing}"'
    if error is not None:
        yield f"assert run.error == {literal(error, 4)}"
    if standing == "done":
        output = graph.output(fold_all(graph.schema, "recorded", facts).values)
        yield f"assert run.output == {literal(output, 4)}" if output is not None else "assert run.output is None"


def _in_docstring(text: str) -> str:
    """A name in the file's docstring, whatever is in it."""
    return "`" + re.sub(r"[^ -!#-\[\]-~]", "?", text) + "`"


def _slug(text: str) -> str:
    return re.sub(r"\W+", "_", text.lower(), flags=re.ASCII).strip("_") or "run"


# --- finding graphs ---------------------------------------------------------------------------------------------------


def load_graph(ref: str, name: str | None = None, *, near: str | Path | None = None) -> Any:
    """The graph, or what has one, that ``ref`` names: ``FILE.py``, ``FILE.py:variable``, ``module``,
    ``module:variable``.

    A relative FILE is looked for in the working directory, then in ``near``'s folder and those above it. ``name``: the
    graph's own name, where there are several; else the one that is called ``graph``. Raises UserError.
    """
    file, variable = loading.split(ref)
    if file.suffix != ".py":
        return _of_module(ref, name)
    found = loading.graphs_in(_file(file, near))
    if variable is not None:
        return loading.named(found, file, variable).target
    return _chosen([(one.name, one.target) for one in found], name, str(file))


def graphs_in(file: Path) -> list[Graph]:
    """The graphs of a Python file."""
    return [one.graph for one in loading.graphs_in(file)]


def _file(file: Path, near: str | Path | None) -> Path:
    places = [Path.cwd(), *(Path(near).resolve().parents if near is not None else ())]
    for place in places:
        if (place / file).is_file():
            return place / file
    where = " or above ".join(f"'{place}'" for place in places[:2])
    raise UserError(f"there is no file '{file}' in {where}; give the path from there")


def _of_module(ref: str, name: str | None) -> Any:
    module_name, _, variable = ref.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise UserError(f"'{ref}' is neither a .py file nor a module that can be imported: {error}") from error
    if variable:
        if not hasattr(module, variable):
            raise UserError(f"module '{module_name}' has no '{variable}'")
        return getattr(module, variable)
    graphs = {id(one): (key, one) for key, one in vars(module).items() if _graph_of(one) is not None}
    return _chosen(list(graphs.values()), name, module_name)


def _graph_of(one: Any) -> Graph | None:
    found = one if isinstance(one, Graph) else None if isinstance(one, type) else getattr(one, "graph", None)
    return found if isinstance(found, Graph) else None


def _chosen(found: list[tuple[str, Any]], name: str | None, where: str) -> Any:
    """The one graph that is meant: of this name, the only one, or the one whose variable is ``graph``."""
    fitting = {key: one for key, one in found if (graph := _graph_of(one)) is not None and name in (None, graph.name)}
    if len(fitting) == 1 or loading.PREFERRED in fitting:
        return fitting[loading.PREFERRED if loading.PREFERRED in fitting else next(iter(fitting))]
    variables = listed(key for key, _ in found)
    what = f"{len(fitting)} graphs" + (f" named '{name}'" if name is not None else "")
    raise UserError(f"{where} has {what}; name the variable: '{where}:variable'. It has {variables}")
