"""What a node's source says that it answers: the literals in its ``return`` statements, read without running them.

Only what is certain is told. A name counts as ``Goto`` or ``Pause`` when it *is* that class in the function's globals
or closure; text that the function's compiled code doesn't hold (a file edited after its import) isn't believed.
"""

from __future__ import annotations

import ast
import functools
import inspect
import linecache
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from flowcore.graph.outcomes import Goto, Pause


class Answer(NamedTuple):
    """One answer, as written.

    ``form``: "Goto", "Pause", "label" (a str), "update" (a dict) or "nothing" (None). ``on``: the label where it's a
    literal, else None. ``update``: the literal names of the fields, each with its value as an expression. ``into``,
    ``late``: a Pause's. ``line``: in the file, from 1. ``certain``: it stands in a ``return``, not elsewhere.
    """

    form: str
    line: int
    on: str | None = None
    update: dict[str, ast.expr] = {}
    into: str | None = None
    late: str | None = None
    certain: bool = True


class Reading(NamedTuple):
    """A function's answers. ``complete``: whatever it returns is among them. ``file``: where it stands."""

    answers: tuple[Answer, ...] = ()
    complete: bool = False
    file: str = ""


def read(fn: Callable[..., Any]) -> Reading:
    """The answers of a node's function; an empty reading where there's no source, or none that fits the code."""
    function = _function(fn)
    if function is None or function.__name__ == "<lambda>":
        return Reading()
    code = function.__code__
    tree = _tree(code)
    if tree is None or code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
        return Reading()
    return _Reader(function, tree[0], tree[1]).read()


def _function(fn: Any) -> types.FunctionType | None:
    """The Python function that is called; not what ``functools.wraps`` names: a wrapper may answer otherwise."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if not isinstance(fn, types.FunctionType | types.MethodType):
        fn = getattr(type(fn), "__call__", None)  # noqa: B004 - the function itself is wanted
    fn = getattr(fn, "__func__", fn)
    return fn if isinstance(fn, types.FunctionType) else None


def _tree(code: types.CodeType) -> tuple[ast.FunctionDef | ast.AsyncFunctionDef, int] | None:
    """The function's syntax tree, and what to add to its line numbers."""
    lines = linecache.getlines(code.co_filename)
    first, last = code.co_firstlineno, max(_lines(code), default=0)
    text = lines[first - 1 : last]
    if not text:
        return None
    indented = text[0][:1].isspace()
    try:
        module = ast.parse(("if 1:\n" if indented else "") + "".join(text))
    except (SyntaxError, ValueError):
        return None
    body: Any = module.body[0]
    found = body.body[0] if indented else body
    if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef) or found.name != code.co_name:
        return None
    return found, first - 1 - indented


def _lines(code: types.CodeType) -> Iterator[int]:
    for _, end, _, _ in code.co_positions():
        if end is not None:
            yield end
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _lines(const)


class _Reader:
    def __init__(self, function: types.FunctionType, tree: ast.AST, shift: int) -> None:
        self.function = function
        self.tree: Any = tree
        self.shift = shift
        self.known = set(_texts(function.__code__))
        self.seen: set[ast.AST] = set()
        self.complete = True

    def read(self) -> Reading:
        answers: list[Answer] = []
        calls: list[ast.Call] = []
        for inner in _own(self.tree):
            if isinstance(inner, ast.Return):
                answers += self._expression(inner.value, inner)
            elif isinstance(inner, ast.Call):
                calls.append(inner)
        if not isinstance(self.tree.body[-1], ast.Return | ast.Raise):
            answers.append(Answer("nothing", self._line(self.tree.body[-1]), certain=False))
        for call in calls:
            if call not in self.seen:
                found = self._call(call)
                answers += [] if found is None else [found._replace(certain=False)]
        file = self.function.__code__.co_filename
        return Reading(tuple(one for one in answers if self._holds(one)), self.complete, file)

    def _line(self, of: ast.AST) -> int:
        return int(getattr(of, "lineno", 0)) + self.shift

    def _expression(self, value: ast.expr | None, at: ast.AST) -> list[Answer]:
        """The answers of what is returned; anything but a literal makes the reading incomplete."""
        if isinstance(value, ast.IfExp):
            return [*self._expression(value.body, at), *self._expression(value.orelse, at)]
        if isinstance(value, ast.NamedExpr):
            return self._expression(value.value, at)
        found = self._literal(value, at)
        if found is None:
            self.complete = False
            return []
        if isinstance(value, ast.Call) and found.form in ("Goto", "Pause") and found.on is None:
            self.complete = False
        return [found]

    def _literal(self, value: ast.expr | None, at: ast.AST) -> Answer | None:
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            return Answer("nothing", self._line(value or at))
        if isinstance(value, ast.Constant) and type(value.value) is str:
            return Answer("label", self._line(value), value.value)
        if isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            return Answer("update", self._line(value), update={key: to for one, to in pairs if (key := _text(one))})
        return self._call(value) if isinstance(value, ast.Call) else None

    def _call(self, call: ast.Call) -> Answer | None:
        """``Goto(...)``, ``Pause(...)`` or ``dict(...)``; None for any other call."""
        called = self._value(call.func)
        given = {one.arg: one.value for one in call.keywords if one.arg is not None}
        whole = len(given) == len(call.keywords)
        line = self._line(call)
        if called is Goto:
            self.seen.add(call)
            first = call.args[0] if call.args else None
            return Answer("Goto", line, _text(first), given)
        if called is Pause:
            self.seen.add(call)
            late = given.get("late")
            known = whole and (late is None or isinstance(late, ast.Constant))
            on = _text(given["on"]) if "on" in given else "answered"
            return Answer("Pause", line, on if known else None, into=_text(given.get("into")), late=_text(late))
        if called is dict and not call.args:
            return Answer("update", line, update=given)
        return None

    def _value(self, expression: ast.expr) -> Any:
        """What a name, or a name in a module, stands for; None where that isn't certain."""
        if isinstance(expression, ast.Subscript):  # Goto[Literal["ok"]]("ok")
            return self._value(expression.value)
        if isinstance(expression, ast.Attribute):
            module = self._value(expression.value)
            return getattr(module, expression.attr, None) if isinstance(module, types.ModuleType) else None
        return self._named(expression.id) if isinstance(expression, ast.Name) else None

    def _named(self, name: str) -> Any:
        function, code = self.function, self.function.__code__
        if name in code.co_varnames or name in code.co_cellvars:
            return None
        if name in code.co_freevars:
            try:
                return (function.__closure__ or ())[code.co_freevars.index(name)].cell_contents
            except (ValueError, IndexError):
                return None
        return function.__globals__.get(name, dict if name == "dict" else None)

    def _holds(self, answer: Answer) -> bool:
        """Whether the compiled function holds the same texts: else the file has changed since."""
        named = (answer.on, answer.into, answer.late, *answer.update)
        default = answer.form == "Pause" and answer.on == "answered"
        if all(one is None or one in self.known or (default and one == "answered") for one in named):
            return True
        self.complete = False
        return False


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body, in order, without those of functions and classes inside it."""
    todo: list[ast.AST] = list(reversed(getattr(function, "body", [])))
    while todo:
        here = todo.pop()
        if isinstance(here, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        yield here
        todo += reversed(list(ast.iter_child_nodes(here)))


def _texts(code: types.CodeType) -> Iterator[str]:
    todo: list[Any] = [*code.co_consts]
    while todo:
        const = todo.pop()
        if type(const) is str:
            yield const
        elif isinstance(const, Iterable) and not isinstance(const, bytes):
            todo += const


def _text(expression: ast.expr | None) -> str | None:
    found = expression.value if isinstance(expression, ast.Constant) else None
    return found if type(found) is str else None
