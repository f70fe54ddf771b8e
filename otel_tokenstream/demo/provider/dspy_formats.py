"""Answers in the formats DSPy's Chat, JSON and XML adapters ask for in their prompts."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape

from otel_tokenstream.demo.provider.prose import text_of
from otel_tokenstream.demo.provider.values import Sampler, schema_of

Format = Literal["chat", "json", "xml"]

_REQUESTS: dict[Format, str] = {
    "chat": "Respond with the corresponding output fields, starting with the field",
    "json": "Respond with a JSON object in the following order of fields",
    "xml": "Respond with the corresponding output fields wrapped in XML tags",
}
_FIELDS = re.compile(r"^Your output fields are:\n(.*?)^All interactions will be", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^\d+\. `(\w+)` \((.*?)\)(?::|$)", re.MULTILINE)
_TOOL = re.compile(r"^ *\(\d+\) \w+.*? It takes arguments (\{.*\})\.$", re.MULTILINE)
_OBSERVATION = re.compile(
    r"(?:\[\[ ## observation_\d+ ## \]\]|<observation_\d+>)\n(.*?)\n*(?=\n\[\[|\n*</|\Z)", re.DOTALL
)
_THOUGHTS = ("reasoning", "rationale", "thought", "plan", "critique")


@dataclass(frozen=True)
class Program:
    """The output that a prompt of DSPy requests. ``fields`` maps output fields to their annotations."""

    format: Format
    fields: dict[str, str]
    instructions: str
    question: str
    observations: list[str]


def reply_to_program(messages: list[dict[str, Any]]) -> str | None:
    """The answer a DSPy adapter can parse, or None if the prompt is not DSPy's."""
    program = _read(messages)
    if program is None:
        return None
    sampler = Sampler(program.question)
    values = {name: _value(program, sampler, name, annotation) for name, annotation in program.fields.items()}
    return _WRITERS[program.format](values)


def _read(messages: list[dict[str, Any]]) -> Program | None:
    system = "\n".join(text_of(message) for message in messages if message.get("role") in ("system", "developer"))
    user = next((text_of(message) for message in reversed(messages) if message.get("role") == "user"), "")
    listed = _FIELDS.search(system)
    wanted: Format | None = next((name for name, request in _REQUESTS.items() if request in user), None)
    if listed is None or wanted is None:
        return None
    inputs = user[: user.index(_REQUESTS[wanted])]
    return Program(wanted, dict(_FIELD.findall(listed[1])), system, inputs, _OBSERVATION.findall(inputs))


def _value(program: Program, sampler: Sampler, name: str, annotation: str) -> Any:
    if name == "next_tool_name":
        return _tool_name(program, annotation)
    if name == "next_tool_args":
        return _tool_arguments(program, sampler)
    if name == "next_thought":
        if program.observations:
            return "The tool has answered. Nothing else is needed, so I can finish."
        return f"I should not guess about {sampler.noun()}; the tool can tell."
    if annotation in ("str", "Any"):
        thought = any(word in name.lower() for word in _THOUGHTS)
        if program.observations:
            seen = program.observations[0].strip()
            return f"The tool reported: {seen} I can pass that on." if thought else f"{seen} So the tool reports."
        return sampler.passage.thought if thought else sampler.passage.answer
    schema = schema_of(annotation) or _schema_in_prompt(program.instructions, name)
    return sampler.value(schema, name)


def _tool_name(program: Program, annotation: str) -> Any:
    names = (schema_of(annotation) or {}).get("enum", ["finish"])
    return names[-1] if program.observations else names[0]


def _tool_arguments(program: Program, sampler: Sampler) -> dict[str, Any]:
    tool = _TOOL.search(program.instructions)
    if tool is None or program.observations:
        return {}
    arguments: dict[str, dict[str, Any]] = ast.literal_eval(tool[1])
    return {key: sampler.value(schema, key) for key, schema in arguments.items() if "default" not in schema}


def _schema_in_prompt(instructions: str, name: str) -> dict[str, Any]:
    """The schema the Chat and JSON adapters print beside a field of a class of the user's."""
    found = re.search(rf"\{{{name}\}} +# note: .*? JSON schema: (.*)", instructions)
    if found is None:
        return {"type": "string"}
    text = found[1]
    if text.startswith('{\\"'):
        text = json.loads('"' + text.rstrip(",").removesuffix('"') + '"')
    schema, _ = json.JSONDecoder().raw_decode(text)
    return dict(schema)


def _chat(values: dict[str, Any]) -> str:
    sections = [f"[[ ## {name} ## ]]\n{_inline(value)}" for name, value in values.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]\n"])


def _xml(values: dict[str, Any]) -> str:
    return "\n\n".join(f"<{name}>\n{_xml_value(value)}\n</{name}>" for name, value in values.items())


def _xml_value(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{key}>{_xml_value(part)}</{key}>" for key, part in value.items())
    if isinstance(value, list):
        return "".join(f"<item>{_xml_value(part)}</item>" for part in value)
    return escape(_inline(value))


def _inline(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


_WRITERS = {"chat": _chat, "json": lambda values: json.dumps(values, indent=2, ensure_ascii=False), "xml": _xml}
