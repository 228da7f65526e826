"""JSON schemas made fit to constrain a small model: every string and list is bounded, every reference is found.

Without a bound, a small model may fill a string until its tokens run out, and the JSON is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LONGEST_STRING = 1000
"""Characters. llama.cpp refuses grammars with repetitions over 2000."""
LONGEST_LIST = 16

_SCHEMAS_BY_NAME = frozenset({"properties", "patternProperties"})
_LISTS_OF_SCHEMAS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_SCHEMA = frozenset({"items", "additionalProperties", "not"})
_DEFINITIONS = ("$defs", "definitions")


def bounded(
    schema: Mapping[str, Any], definitions: dict[str, Any], prefix: str, longest: int = LONGEST_STRING
) -> dict[str, Any]:
    """A copy of ``schema`` with bounds, to stand anywhere inside another schema.

    Its ``$defs`` go into ``definitions``, their names behind ``prefix``, and its references follow them there.
    ``longest``: characters of a string that has no bound of its own.
    """

    def walk(node: Any) -> Any:
        if not isinstance(node, Mapping):
            return node
        made: dict[str, Any] = {}
        for key, value in node.items():
            if key in _DEFINITIONS:
                continue
            if key == "$ref" and isinstance(value, str):
                made[key] = _moved(value, prefix)
            elif key in _SCHEMAS_BY_NAME:
                made[key] = {name: walk(inner) for name, inner in value.items()}
            elif key in _LISTS_OF_SCHEMAS:
                made[key] = [walk(inner) for inner in value]
            elif key in _SCHEMA:
                made[key] = walk(value)
            else:
                made[key] = value
        return _with_bounds(made, longest)

    for name in _DEFINITIONS:
        for key, inner in schema.get(name, {}).items():
            definitions[prefix + key] = walk(inner)
    result: dict[str, Any] = walk(schema)
    return result


def _with_bounds(node: dict[str, Any], longest: int) -> dict[str, Any]:
    kinds = node.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    fixed = "enum" in node or "const" in node or "pattern" in node
    if "string" in kinds and not fixed and "format" not in node:
        node["maxLength"] = min(node.get("maxLength", longest), LONGEST_STRING)
    if "array" in kinds and "prefixItems" not in node:
        node["maxItems"] = min(node.get("maxItems", LONGEST_LIST), max(LONGEST_LIST, node.get("minItems", 0)))
    return node


def _moved(reference: str, prefix: str) -> str:
    for name in _DEFINITIONS:
        start = f"#/{name}/"
        if reference.startswith(start):
            return f"#/$defs/{prefix}{reference.removeprefix(start)}"
    return reference
