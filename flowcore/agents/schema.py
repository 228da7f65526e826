"""From a Python function to the JSON schema that a model sees, and from a model's JSON back to a call.

Everything that can be inspected is inspected once, by ``function_schema``; ``FuncSchema.bind`` only validates.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, get_args, get_origin, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python
from typing_extensions import TypedDict

from flowcore.agents.context import RunContextWrapper
from flowcore.errors import ModelBehaviorError, UserError
from flowcore.graph.secret import MASK, is_secret

DocstringStyle: TypeAlias = Literal["google", "numpy", "sphinx"]
"""How a docstring marks its parameters."""

JsonSchema: TypeAlias = dict[str, Any]
"""A JSON schema."""

_Kind = inspect._ParameterKind


@dataclass(frozen=True, slots=True, eq=False)
class FuncSchema:
    """What a function takes, made once when it's declared.

    ``params_json_schema``: its parameters as a JSON schema (an object). ``takes_context``: whether the call's context
    goes before ``bind``'s arguments. ``strict_json_schema``: whether the schema keeps the strict dialect.
    """

    name: str
    description: str
    params_json_schema: JsonSchema
    takes_context: bool
    strict_json_schema: bool
    signature: inspect.Signature = field(repr=False)
    _validate_json: Callable[[str], dict[str, Any]] = field(repr=False)
    _defaults: Mapping[str, FieldInfo] = field(repr=False)
    """The parameters whose default is written as a ``Field``, which Python wouldn't fill in."""
    _positional: tuple[inspect.Parameter, ...] = field(repr=False)
    """Parameters that have to be passed by position; empty for nearly every function."""
    _var_keyword: str | None = field(repr=False)
    secrets: frozenset[str] = frozenset()
    """The parameters whose values no error tells."""

    def parse(self, arguments: str | dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, validated and converted; keys that no parameter has are dropped.

        ``arguments``: JSON text (empty means no arguments) or its value. Parameters that were left out are absent,
        unless their default is a ``Field``. Raises ``ModelBehaviorError``: the text isn't JSON, or doesn't fit.
        """
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        try:
            values = self._validate_json(text or "{}")
        except ValidationError as error:
            if self.secrets:  # neither pydantic's words nor the text: both may tell them
                raise _bad_arguments(self.name, text, error, self.secrets) from None
            raise _bad_arguments(self.name, text, error) from _json_error(text, error)
        if self._defaults:
            for name, info in self._defaults.items():
                if name not in values:
                    values[name] = info.get_default(call_default_factory=True, validated_data={})
        return values

    def bind(self, arguments: str | dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, kwargs)`` for the function, its context left out. Raises as ``parse`` does."""
        values = self.parse(arguments)
        args = self._take_positional(values) if self._positional else ()
        if self._var_keyword is not None:
            self._spread(values, values.pop(self._var_keyword, {}))
        return args, values

    def _spread(self, values: dict[str, Any], more: dict[str, Any]) -> None:
        if twice := values.keys() & more.keys():
            raise ModelBehaviorError(
                f"Invalid JSON input for tool {self.name}: {', '.join(sorted(twice))} given twice, "
                f"beside '{self._var_keyword}' and in it"
            )
        values.update(more)

    def _take_positional(self, values: dict[str, Any]) -> tuple[Any, ...]:
        args: list[Any] = []
        for parameter in self._positional:
            if parameter.kind is _Kind.VAR_POSITIONAL:
                args.extend(values.pop(parameter.name, ()))
            else:
                args.append(values.pop(parameter.name, parameter.default))
        return tuple(args)


def _json_error(text: str, error: ValidationError) -> Exception:
    """Why ``text`` isn't JSON, in the words of ``json``; ``error`` itself where it is JSON that doesn't fit."""
    if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
        return error
    try:
        json.loads(text)
    except json.JSONDecodeError as decode_error:
        return decode_error
    except RecursionError:
        pass
    return error


def _bad_arguments(
    tool: str, text: str, error: ValidationError, secrets: frozenset[str] = frozenset()
) -> ModelBehaviorError:
    no_json = isinstance(_json_error(text, error), json.JSONDecodeError)
    what = (MASK if secrets else text) if no_json else describe_errors(error, secrets)
    return ModelBehaviorError(f"Invalid JSON input for tool {tool}: {what}")


def describe_errors(error: ValidationError, secrets: frozenset[str] = frozenset()) -> str:
    """A validation error for the eyes of a model: a line per field, with what was given, without links. Of the fields
    ``secrets`` nothing is told but their names."""
    lines = []
    for part in error.errors(include_url=False):
        where = ".".join(str(step) for step in part["loc"])
        if secrets and (not part["loc"] or part["loc"][0] in secrets):
            lines.append(f"{where or 'the whole'}: it doesn't fit (given: {MASK})")
            continue
        given = "" if part["type"] in ("missing", "json_invalid") else f" (given: {_short(part['input'])})"
        lines.append(f"{where}: {part['msg']}{given}" if where else f"{part['msg']}{given}")
    return "\n".join(lines)


def _short(value: Any, limit: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


# --- declaring --------------------------------------------------------------------------------------------------------


def function_schema(
    func: Callable[..., Any],
    docstring_style: DocstringStyle | None = None,
    name_override: str | None = None,
    description_override: str | None = None,
    use_docstring_info: bool = True,
    strict_json_schema: bool = True,
) -> FuncSchema:
    """Inspect a function: its name, description, parameters, and whether it takes the context.

    A first parameter annotated with ``RunContextWrapper`` or ``ToolContext`` is the context and no part of the schema.
    A parameter's description comes from ``Field(description=...)``, else ``Annotated[T, "..."]``, else the docstring
    (``docstring_style``; None finds out). ``*args`` is an array, ``**kwargs`` an object, untyped is anything.

    Raises ``UserError``: a context elsewhere than first, an annotation that can't be resolved or has no JSON schema,
    a parameter that the strict dialect can't express.
    """
    label = _label(func)
    parameters, hints, signature = _inspect(func, label)
    takes_context = _takes_context(parameters, hints, label)
    if takes_context:
        parameters = parameters[1:]
    summary, documented = _read_docstring(func, docstring_style) if use_docstring_info else ("", {})
    name = name_override or label
    fields, defaults = _fields(parameters, hints, documented)
    adapter = _adapter(f"{name}_args", fields, label)
    schema = _params_schema(adapter, parameters, defaults, label)
    if strict_json_schema:
        _refuse_var_keyword(parameters, label)
        schema = _strict(schema, f"function '{label}'")
    return FuncSchema(
        name=name,
        description=description_override or summary,
        params_json_schema=schema,
        takes_context=takes_context,
        strict_json_schema=strict_json_schema,
        signature=signature,
        _validate_json=adapter.validator.validate_json,
        _defaults=defaults,
        _positional=_by_position(parameters),
        _var_keyword=next((p.name for p in parameters if p.kind is _Kind.VAR_KEYWORD), None),
        secrets=frozenset(name for name, hint in fields.items() if is_secret(hint)),
    )


def _label(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", None) or type(func).__name__
    return str(name)


def _inspect(func: Callable[..., Any], label: str) -> tuple[list[inspect.Parameter], dict[str, Any], inspect.Signature]:
    """The function's parameters and their types. The type it returns is nobody's business here."""
    if isinstance(func, functools.partial):
        raise UserError(
            f"function_tool can't read the contract of functools.partial({_label(func.func)}): "
            "write a function that makes the call"
        )
    try:
        signature = inspect.signature(func)
    except ValueError as error:
        raise UserError(f"'{label}' has no signature to read: write a function that calls it") from error
    return list(signature.parameters.values()), _hints(func, label), signature


def _hints(func: Callable[..., Any], label: str) -> dict[str, Any]:
    inner: Any = inspect.unwrap(func)
    if not hasattr(inner, "__globals__") and not inspect.ismethod(inner):
        inner = type(inner).__call__
    try:
        annotations = {name: hint for name, hint in inner.__annotations__.items() if name != "return"}
        holder = SimpleNamespace(__annotations__=annotations)
        return get_type_hints(holder, getattr(inner, "__globals__", {}), include_extras=True)
    except NameError as error:
        raise UserError(
            f"function '{label}': the annotation {error.name!r} can't be resolved; import it at runtime, "
            "not only under TYPE_CHECKING, and define it at the top of the module"
        ) from error
    except (TypeError, SyntaxError, AttributeError) as error:
        raise UserError(f"function '{label}': an annotation can't be resolved: {error}") from error


def _is_context(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, RunContextWrapper)


def _takes_context(parameters: list[inspect.Parameter], hints: Mapping[str, Any], label: str) -> bool:
    first = parameters[0] if parameters else None
    for parameter in parameters:
        if not _is_context(hints.get(parameter.name)):
            continue
        if parameter is not first or parameter.kind not in (
            _Kind.POSITIONAL_ONLY,
            _Kind.POSITIONAL_OR_KEYWORD,
        ):
            raise UserError(
                f"RunContextWrapper/ToolContext param found at non-first position in function {label}: "
                f"move '{parameter.name}' to the front"
            )
    return first is not None and _is_context(hints.get(first.name))


def _fields(
    parameters: list[inspect.Parameter], hints: Mapping[str, Any], documented: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, FieldInfo]]:
    """Types for the schema by parameter name, and the ``Field`` defaults that Python itself wouldn't fill in."""
    fields: dict[str, Any] = {}
    defaults: dict[str, FieldInfo] = {}
    for parameter in parameters:
        hint, infos = _split(_collected(parameter, hints.get(parameter.name, Any)))
        if isinstance(parameter.default, FieldInfo):
            infos.append(parameter.default)
        has_default, info = _default_of(parameter, infos)
        if info is not None:
            defaults[parameter.name] = info
        described = next((i.description for i in reversed(infos) if i.description), None)
        description = described or _plain_doc(hint) or documented.get(parameter.name)
        for one in infos:
            hint = Annotated[hint, _without_default(one)]
        if description:
            hint = Annotated[hint, FieldInfo(description=description)]
        fields[parameter.name] = NotRequired[hint] if has_default else hint
    return fields, defaults


def _collected(parameter: inspect.Parameter, hint: Any) -> Any:
    """``*args: T`` is a list of T, ``**kwargs: T`` a dict of T."""
    if parameter.kind is _Kind.VAR_POSITIONAL:
        return list[hint]
    if parameter.kind is _Kind.VAR_KEYWORD:
        return dict[str, hint]
    return hint


def _split(hint: Any) -> tuple[Any, list[FieldInfo]]:
    """The hint without its ``Field`` marks, and the marks."""
    if get_origin(hint) is not Annotated:
        return hint, []
    base, *marks = get_args(hint)
    for mark in marks:
        if not isinstance(mark, FieldInfo):
            base = Annotated[base, mark]
    return base, [mark for mark in marks if isinstance(mark, FieldInfo)]


def _plain_doc(hint: Any) -> str | None:
    """The first plain string of ``Annotated[T, "..."]``."""
    if get_origin(hint) is not Annotated:
        return None
    return next((mark for mark in get_args(hint)[1:] if isinstance(mark, str)), None)


def _default_of(parameter: inspect.Parameter, infos: list[FieldInfo]) -> tuple[bool, FieldInfo | None]:
    """Whether the parameter may be left out, and the ``Field`` that then gives its value."""
    for info in reversed(infos):
        if not info.is_required():
            return True, info
    plain = parameter.default is not parameter.empty and not isinstance(parameter.default, FieldInfo)
    return plain or parameter.kind in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD), None


def _without_default(info: FieldInfo) -> FieldInfo:
    bare = info._copy()
    bare.default = PydanticUndefined
    bare.default_factory = None
    bare._attributes_set = {
        key: value for key, value in bare._attributes_set.items() if key not in ("default", "default_factory")
    }
    return bare


def typed_dict_adapter(name: str, fields: dict[str, Any]) -> TypeAdapter[dict[str, Any]]:
    """A validator of dicts with these keys. Unlike a model's, a key may have any name (``json``, ``_x``, ``copy``)."""
    make: Any = TypedDict
    return TypeAdapter(make(name, fields))


def _adapter(name: str, fields: dict[str, Any], label: str) -> TypeAdapter[dict[str, Any]]:
    try:
        return typed_dict_adapter(name, fields)
    except PydanticUndefinedAnnotation as error:
        raise UserError(
            f"function '{label}': the annotation '{error.name}' can't be resolved: define it first"
        ) from error
    except (PydanticUserError, TypeError) as error:
        raise UserError(f"function '{label}': a parameter's type can't be validated: {error}") from error


def _params_schema(
    adapter: TypeAdapter[dict[str, Any]],
    parameters: list[inspect.Parameter],
    defaults: Mapping[str, FieldInfo],
    label: str,
) -> JsonSchema:
    try:
        schema = adapter.json_schema()
    except PydanticUserError as error:
        raise UserError(f"function '{label}': a parameter's type has no JSON schema: {error}") from error
    properties = schema.setdefault("properties", {})
    if any(parameter.kind is _Kind.VAR_KEYWORD for parameter in parameters):
        schema["additionalProperties"] = False  # what else there is stands in the parameter's own object
    for parameter in parameters:
        info = defaults.get(parameter.name)
        default = parameter.default if info is None else info.default
        if default is parameter.empty or default is PydanticUndefined or parameter.name not in properties:
            continue
        try:
            properties[parameter.name]["default"] = to_jsonable_python(default)
        except ValueError:
            pass  # a default that isn't JSON (a sentinel) works, and the model needn't know it
    return schema


def _refuse_var_keyword(parameters: list[inspect.Parameter], label: str) -> None:
    for parameter in parameters:
        if parameter.kind is _Kind.VAR_KEYWORD:
            raise UserError(
                f"Variadic keyword parameter `**{parameter.name}` in function {label} cannot use a strict schema: it"
                " takes any key; name the parameters, or set strict_mode=False (the values then stand in an object"
                f" `{parameter.name}`)"
            )


def _by_position(parameters: list[inspect.Parameter]) -> tuple[inspect.Parameter, ...]:
    """Those up to ``*args``, or up to the last positional-only one: the rest goes by keyword."""
    last = -1
    for i, parameter in enumerate(parameters):
        if parameter.kind in (_Kind.POSITIONAL_ONLY, _Kind.VAR_POSITIONAL):
            last = i
    return tuple(parameters[: last + 1])


def _read_docstring(func: Callable[..., Any], style: DocstringStyle | None) -> tuple[str, dict[str, str]]:
    """The docstring's prose, and what it says of each parameter."""
    named = hasattr(func, "__name__")
    text = inspect.getdoc(func if named or type(func).__doc__ else type(func).__call__)
    if not text:
        return "", {}
    import docstring_parser
    from docstring_parser.common import ParseError

    styles = docstring_parser.DocstringStyle
    known = {"google": styles.GOOGLE, "numpy": styles.NUMPYDOC, "sphinx": styles.REST}
    if style not in (None, *known):
        raise UserError(f"docstring_style {style!r} isn't one of 'google', 'numpy', 'sphinx'")
    try:
        parsed = docstring_parser.parse(text, style=known[style or _style_of(text)])
    except ParseError:
        return text, {}
    documented = {}
    for entry in parsed.params:
        for name in entry.arg_name.split(","):
            documented[name.strip().lstrip("*")] = (entry.description or "").strip()
    return (parsed.description or "").strip(), documented


def _style_of(text: str) -> DocstringStyle:
    """The style that a docstring shows: sphinx's fields, numpy's underlined headings, else google's."""
    if _SPHINX.search(text):
        return "sphinx"
    return "numpy" if _NUMPY.search(text) else "google"


_SPHINX = re.compile(r"^\s*:(?:param|type|arg|argument|return|returns|rtype|raises)\b[^:\n]*:", re.MULTILINE)
_NUMPY = re.compile(r"^\s*[A-Z][A-Za-z ]*\n\s*-{3,}\s*$", re.MULTILINE)


# --- the strict dialect -----------------------------------------------------------------------------------------------


def ensure_strict_json_schema(schema: JsonSchema) -> JsonSchema:
    """The schema in the strict dialect that providers enforce while they decode; ``schema`` itself isn't changed.

    Every object is closed (``additionalProperties: false``) and all its properties are required; ``default: null``
    goes; ``oneOf`` becomes ``anyOf``, an ``allOf`` of one is lifted, a ``$ref`` with siblings is replaced by what it
    names. An empty schema is an object without properties.
    Raises ``UserError`` on an object that takes any key.
    """
    return _strict(schema, "the schema")


def _strict(schema: JsonSchema, owner: str) -> JsonSchema:
    if not schema:
        return {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    strict: JsonSchema = _Strict(schema, owner).node(schema, ())
    return strict


@dataclass(slots=True)
class _Strict:
    root: JsonSchema
    owner: str
    expanding: list[str] = field(default_factory=list)

    def node(self, schema: Any, path: tuple[str, ...]) -> Any:
        """A strict copy of one schema, at ``path`` in the whole."""
        if not isinstance(schema, dict):
            return schema
        if schema.get("default", ...) is None:
            schema = {key: value for key, value in schema.items() if key != "default"}
        ref = schema.get("$ref")
        if isinstance(ref, str) and len(schema) > 1:
            return self._expanded(schema, ref, path)
        out = dict(schema)
        self._children(out, path)
        self._close(out, path)
        return self._lifted(out, path)

    def _expanded(self, schema: JsonSchema, ref: str, path: tuple[str, ...]) -> Any:
        if ref in self.expanding:
            return {"$ref": ref}  # a recursive type: the words beside an inner reference are given up
        self.expanding.append(ref)
        try:
            siblings = {key: value for key, value in schema.items() if key != "$ref"}
            return self.node({**self._named(ref), **siblings}, path)
        finally:
            self.expanding.pop()

    def _named(self, ref: str) -> JsonSchema:
        found: Any = self.root
        for step in ref.removeprefix("#/").split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not ref.startswith("#/") or not isinstance(found, dict):
            raise UserError(f"{self.owner}: $ref {ref!r} names nothing in the schema")
        return found

    def _children(self, out: JsonSchema, path: tuple[str, ...]) -> None:
        if "oneOf" in out:
            out["anyOf"] = [*out.get("anyOf", []), *out.pop("oneOf")]
            out.pop("discriminator", None)
        for key in ("$defs", "definitions", "properties"):
            if isinstance(out.get(key), dict):
                out[key] = {name: self.node(one, (*path, name)) for name, one in out[key].items()}
        for key in ("anyOf", "allOf", "prefixItems"):
            if isinstance(out.get(key), list):
                out[key] = [self.node(one, path) for one in out[key]]
        if isinstance(out.get("items"), dict):
            out["items"] = self.node(out["items"], (*path, "[]"))

    def _close(self, out: JsonSchema, path: tuple[str, ...]) -> None:
        kind = out.get("type")
        if kind is None and "properties" in out:
            kind = out["type"] = "object"
        if kind != "object" and not (isinstance(kind, list) and "object" in kind):
            return
        if out.get("additionalProperties", False) is not False or "patternProperties" in out:
            where = ".".join(path) or "the top level"
            raise UserError(
                f"{self.owner}: {where} is an object that takes any key, which a strict schema can't say; "
                "give it a model with named fields, or a list of key and value pairs, or switch the strict schema off "
                "(strict_mode=False, strict_json_schema=False)"
            )
        out["additionalProperties"] = False
        if "properties" in out:
            out["required"] = list(out["properties"])

    def _lifted(self, out: JsonSchema, path: tuple[str, ...]) -> JsonSchema:
        parts = out.get("allOf")
        if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], dict):
            return out
        rest = {key: value for key, value in out.items() if key != "allOf"}
        merged = {**parts[0], **rest}
        return merged if "$ref" not in merged or len(merged) == 1 else self.node(merged, path)
