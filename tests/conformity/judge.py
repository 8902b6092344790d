"""Judges answers by OpenAPI 3.1 documents.

Their schemas are JSON Schema 2020-12 as it stands, so a plain validator does: jsonschema-rs, which
checks formats without further packages and is fast enough to look at every answer of a session,
pages of a thousand contracts included. (jsonschema is a hundred times slower on such pages and
checks formats only with six more packages; openapi-core judges requests and responses of web
frameworks, of which there is none here.)
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import jsonschema_rs

METHODS = ("get", "post", "put", "patch", "delete")

Document = dict[str, Any]


class Undocumented(NamedTuple):
    """An answer that exists though a document has no such status, or has it without a body."""

    status: int
    required: tuple[str, ...]
    why: str


class Verdict(NamedTuple):
    """What is wrong with an answer, and the fields it has beyond the document's."""

    wrong: list[str]
    unknown: list[str]


class Operation(NamedTuple):
    urn: str
    path: str
    method: str
    responses: Document


class Judge:
    """Validators are made once per operation and status."""

    def __init__(
        self, documents: dict[str, Document], undocumented: tuple[Undocumented, ...] = ()
    ) -> None:
        self._documents = documents
        self._undocumented = {each.status: each for each in undocumented}
        self._registry = jsonschema_rs.Registry(
            list(documents.items()), draft=jsonschema_rs.Draft202012
        )
        self._validators: dict[tuple[str, str, str], Any] = {}
        found = [
            (_pattern(path), Operation(urn, path, method, operation["responses"]))
            for urn, document in documents.items()
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        ]
        # Literal paths before those with placeholders: /v2/stocks/bars is no symbol's.
        self._operations = sorted(found, key=lambda each: each[1].path.count("{"))

    def operation(self, method: str, path: str) -> Operation | None:
        """The documented operation of a request's path; None when there is none."""
        for pattern, operation in self._operations:
            if operation.method == method.lower() and pattern.fullmatch(path):
                return operation
        return None

    def judge(
        self, method: str, path: str, status: int, headers: dict[str, str], body: bytes
    ) -> Verdict:
        """`path` is as sent, percent-encoded; `headers` have lower-case names."""
        operation = self.operation(method, path)
        if operation is None:
            return Verdict([f"no {method} {path} is documented"], [])
        answer = operation.responses.get(str(status))
        if answer is not None:
            answer = _resolved(self._documents[operation.urn], answer)
        unknown: list[str] = []
        if answer is None or "content" not in answer:
            wrong = self._judge_undescribed(answer is not None, status, headers, body)
        elif headers.get("content-type") in answer["content"] and _no_json(answer):
            wrong = []  # a page: its type is all that a document says
        else:
            wrong, unknown = self._judge_content(operation, status, headers, body)
        wrong += _wrong_headers(self._documents[operation.urn], answer or {}, headers)
        return Verdict(wrong, unknown)

    def _judge_content(
        self, operation: Operation, status: int, headers: dict[str, str], body: bytes
    ) -> tuple[list[str], list[str]]:
        content, wrong = _json(headers, body)
        if wrong:
            return wrong, []
        validator = self._validator(operation, str(status))
        wrong = [
            f"/{'/'.join(map(str, error.instance_path))}: {error.message[:300]}"
            for error in validator.iter_errors(content)
        ]
        return wrong, [] if wrong else unknown_fields(validator, content)

    def _judge_undescribed(
        self, listed: bool, status: int, headers: dict[str, str], body: bytes
    ) -> list[str]:
        if listed and not body:
            return []
        allowed = self._undocumented.get(status)
        if allowed is None:
            return [f"status {status} is documented without a body, or not at all"]
        content, wrong = _json(headers, body)
        if wrong:
            return wrong
        return wrong_error(content, allowed.required)

    def _validator(self, operation: Operation, status: str) -> Any:
        key = operation.method, operation.path, status
        if key not in self._validators:
            path = operation.path.replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
            where = f"paths/{path}/{operation.method}/responses/{status}"
            self._validators[key] = jsonschema_rs.Draft202012Validator(
                {"$ref": f"{operation.urn}#/{where}/content/application~1json/schema"},
                registry=self._registry,
                validate_formats=True,
                offline=True,
            )
        return self._validators[key]


def _no_json(answer: Document) -> bool:
    return "application/json" not in answer["content"]


def wrong_error(content: object, required: tuple[str, ...] = ("code", "message")) -> list[str]:
    """What keeps a decoded body from being an error in Alpaca's shape."""
    if not isinstance(content, dict):
        return ["an error is not an object"]
    wrong = [f"an error without {name}" for name in required if name not in content]
    if "code" in content and not (type(content["code"]) is int and content["code"] > 40_000_000):
        wrong.append(f"code {content['code']!r} is none of Alpaca's")
    if not isinstance(content.get("message", ""), str) or content.get("message") == "":
        wrong.append("the message is empty or no text")
    return wrong


def unknown_fields(validator: Any, content: object) -> list[str]:
    """Fields that no schema speaks of, as JSON pointers; objects of free form aside."""
    spoken_of: dict[str, set[str]] = {}
    for note in validator.evaluate(content).annotations():
        keyword = note["schemaLocation"].rpartition("/")[2]
        names = note["annotations"]
        if keyword in ("properties", "additionalProperties") and isinstance(names, list):
            spoken_of.setdefault(note["instanceLocation"], set()).update(map(str, names))
    found = []
    for place, names_here in spoken_of.items():
        value = find(content, place)
        if isinstance(value, dict):
            found += [f"{place}/{name}" for name in value if name not in names_here]
    return found


def find(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901)."""
    value = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def _wrong_headers(document: Document, answer: Document, headers: dict[str, str]) -> list[str]:
    wrong = []
    for name, header in answer.get("headers", {}).items():
        text = headers.get(name.lower())
        if text is None:
            wrong.append(f"header {name} is missing")
        elif _resolved(document, header)["schema"]["type"] == "integer" and not text.isdigit():
            wrong.append(f"header {name} {text!r} is no whole number")
    return wrong


def _json(headers: dict[str, str], body: bytes) -> tuple[object, list[str]]:
    if not headers.get("content-type", "").startswith("application/json"):
        return None, [f"content type {headers.get('content-type')!r} is not JSON"]
    try:
        return json.loads(body, parse_constant=_refuse), []
    except ValueError as error:
        return None, [f"not JSON: {error}"]


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _resolved(document: Document, value: Document) -> Document:
    resolved: Document = find(document, value["$ref"][1:]) if "$ref" in value else value
    return resolved


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^}]+\}", path)
    return re.compile("[^/]+".join(re.escape(part) for part in parts))
