"""Plausible, reproducible values for JSON schemas and Python annotations."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from otel_tokenstream.demo.provider.prose import Passage, passage_for

_NAMES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "dict": {"type": "object", "additionalProperties": True},
    "Any": {"type": "string"},
    "None": {"type": "null"},
    "NoneType": {"type": "null"},
}


def schema_of(annotation: str) -> dict[str, Any] | None:
    """JSON schema of a Python annotation as DSPy prints it; None if it names a class we cannot know."""
    try:
        return _schema(ast.parse(annotation, mode="eval").body)
    except (SyntaxError, LookupError):
        return None


def _schema(node: ast.expr) -> dict[str, Any]:
    match node:
        case ast.Name(id=name):
            return _NAMES[name]
        case ast.Constant(value=None):
            return _NAMES["None"]
        case ast.BinOp(left=left):
            return _schema(left)
        case ast.Subscript(value=ast.Name(id=name), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if name == "Literal":
                return {"enum": [ast.literal_eval(part) for part in parts]}
            if name.lower() == "list":
                return {"type": "array", "items": _schema(parts[0])}
            if name.lower() == "dict":
                return {"type": "object", "additionalProperties": _schema(parts[1])}
            if name in ("Optional", "Union"):
                return _schema(parts[0])
    raise LookupError(ast.dump(node))


@dataclass(frozen=True)
class Sampler:
    """Draws values that fit a question: prose for long texts, its proper nouns for short ones."""

    question: str

    @property
    def passage(self) -> Passage:
        return passage_for(self.question)

    def value(self, schema: dict[str, Any], name: str, root: dict[str, Any] | None = None) -> Any:
        """A value the schema allows; ``name`` is the field's and decides which."""
        root = schema if root is None else root
        if "$ref" in schema:
            return self.value(root.get("$defs", {})[schema["$ref"].rsplit("/", 1)[-1]], name, root)
        for choices in ("enum", "anyOf", "oneOf", "allOf"):
            if schema.get(choices):
                first = schema[choices][0]
                return first if choices == "enum" else self.value(first, name, root)
        if "const" in schema:
            return schema["const"]
        number = crc32(name.encode())
        match schema.get("type"):
            case "integer":
                return number % 9 + 1
            case "number":
                return round(0.5 + number % 50 / 100, 2)
            case "boolean":
                return True
            case "null":
                return None
            case "array":
                return self._array(schema, name, root)
            case "object":
                return self._object(schema, root)
        return self.noun()

    def noun(self) -> str:
        """The last capitalised word inside a sentence of the question: a city, a person, a product."""
        nouns = re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", self.question)
        return nouns[-1] if nouns else "Lisbon"

    def _array(self, schema: dict[str, Any], name: str, root: dict[str, Any]) -> list[Any]:
        items = schema.get("items") or _NAMES["str"]
        if items.get("type") == "string" and "enum" not in items:
            return list(self.passage.points)
        return [self.value(items, f"{name}{index}", root) for index in range(3)]

    def _object(self, schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
        properties = schema.get("properties")
        if properties is not None:
            wanted = schema.get("required", list(properties))
            return {key: self.value(part, key, root) for key, part in properties.items() if key in wanted}
        values = schema.get("additionalProperties")
        if not isinstance(values, dict):
            values = _NAMES["str"]
        return {word: self.value(values, word, root) for word in self.passage.topic.split()[:2]}
