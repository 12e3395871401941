"""`/openapi.json`: the description of what is served, made from the table of routes.

There is no second list of anything: paths, bodies, answers and problems are those of the `Route`s,
schemas those of the Pydantic models.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.limits import ID_BYTES_MAX
from streams.gateway.messages import ProblemTold
from streams.gateway.problems import CODES, PROBLEM_JSON, problem_response
from streams.gateway.routes import Described, Route

EVERY_ROUTE: Final = (
    *("ambiguous", "bad_query", "path_too_long", "headers_too_large", "internal", "overloaded"),
)
"""Codes that every route can answer."""

EVERY_KEYED_ROUTE: Final = (
    *("unauthorized", "key_revoked", "key_expired", "scope_missing", "rate_limited"),
    "unavailable",
)
EVERY_BODY: Final = (
    *("oversized", "bad_encoding", "unsupported_encoding", "unsupported_media_type"),
    *("body_timeout", "malformed"),
)
_PLACE: Final = re.compile(r"\{([a-z_]+)\*?\}")

_LONG_NAME: Final = re.compile(r"streams__gateway__([a-z_]+?)__(\w+)\Z")
_PREFIX: Final = "#/components/schemas/"

Schema = dict[str, Any]
Refs = Mapping[type[BaseModel], Mapping[str, Any]]


def description(routes: Sequence[Route], version: str) -> Schema:
    """The OpenAPI 3.1 document of these routes."""
    models = {model for route in routes for model in _models(route)}
    ordered = sorted(models, key=lambda model: (model.__name__, model.__module__))
    refs, schemas = models_json_schema(
        [(model, "validation") for model in ordered], ref_template=_PREFIX + "{model}"
    )
    found = {model: refs[model, "validation"] for model in ordered}
    paths: dict[str, Schema] = {}
    for route in routes:
        path = _PLACE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _Operation(route, found).schema()
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate",
            "version": version,
            "description": "Usage into one replayable log; holds and budgets decided once.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }
    named: Schema = _renamed(document)
    return named


def _renamed(node: Any) -> Any:
    """The document with short names for models of different protocols that are called the same,
    which Pydantic tells apart by their modules."""
    if isinstance(node, dict):
        return {
            _short(name): _short(part) if name == "$ref" else _renamed(part)
            for name, part in node.items()
        }
    return [_renamed(part) for part in node] if isinstance(node, list) else node


def _short(name: str) -> str:
    """`streams__gateway__agentbill_bodies__TaskTold` is `AgentbillTaskTold`; what belongs to the
    native API is called as it is."""
    match = _LONG_NAME.search(name)
    if match is None:
        return name
    protocol = "" if match[1] == "messages" else match[1].partition("_")[0].capitalize()
    return f"{name[: match.start()]}{protocol}{match[2]}"


def _models(route: Route) -> Iterable[type[BaseModel]]:
    yield ProblemTold
    for schema in route.accepts.values():
        yield from _models_in(schema)
    for answer in route.answers.values():
        if answer.model is not None:
            yield answer.model


def _models_in(schema: object) -> Iterable[type[BaseModel]]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        yield schema
    elif isinstance(schema, Mapping):
        for part in schema.values():
            yield from _models_in(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _models_in(part)


class _Operation:
    """One route as an operation; `refs` says under which name each model is described."""

    def __init__(self, route: Route, refs: Refs) -> None:
        self._route = route
        self._refs = refs

    def schema(self) -> Schema:
        """The operation object."""
        route = self._route
        operation: Schema = {
            "operationId": route.name,
            "summary": route.summary,
            "tags": [route.group],
            "parameters": [*_path_parameters(route), *_other_parameters(route)],
            "responses": self._responses(),
            "security": [] if route.scope is None else [{"key": []}],
        }
        if route.accepts:
            operation["requestBody"] = {
                "required": True,
                "content": {
                    kind: {"schema": self._schema(body)} for kind, body in route.accepts.items()
                },
            }
        if route.scope is not None:
            operation["description"] = f"Needs a key with the scope `{route.scope}`."
        return operation

    def _schema(self, value: object) -> Any:
        """A JSON schema in which a model stands for itself and a list of one for an array of
        it."""
        if isinstance(value, type) and issubclass(value, BaseModel):
            return dict(self._refs[value])
        if isinstance(value, list):
            return {"type": "array", "items": self._schema(value[0]), "minItems": 1}
        if isinstance(value, Mapping):
            return {name: self._keyword(name, part) for name, part in value.items()}
        return value

    def _keyword(self, name: str, part: Any) -> Any:
        if name == "anyOf":
            return [self._schema(item) for item in part]
        return part if name in ("examples", "required", "enum") else self._schema(part)

    def _responses(self) -> Schema:
        route = self._route
        responses: Schema = {
            str(status): self._answer(told) for status, told in sorted(route.answers.items())
        }
        codes = [*EVERY_ROUTE, *route.problems]
        if route.scope is not None:
            codes += EVERY_KEYED_ROUTE
        if route.accepts:
            codes += EVERY_BODY
        by_status: dict[int, list[str]] = {}
        for code in dict.fromkeys(codes):
            by_status.setdefault(CODES[code].status, []).append(code)
        for status, listed in sorted(by_status.items()):
            responses.setdefault(str(status), self._problem(listed))
        return responses

    def _answer(self, told: Described) -> Schema:
        content: Schema = {} if told.model is None else {"schema": self._schema(told.model)}
        media_types = {told.media_type: content} | {name: {} for name in told.also}
        return {"description": told.description, "content": media_types}

    def _problem(self, codes: list[str]) -> Schema:
        text = "; ".join(f"`{code}`: {CODES[code].title}" for code in codes)
        if self._route.refuse is not problem_response or self._route.refuse_to is not None:
            return {"description": text}
        schema = self._schema(ProblemTold)
        return {"description": text, "content": {PROBLEM_JSON.decode(): {"schema": schema}}}


def _path_parameters(route: Route) -> list[Schema]:
    schema = {"type": "string", "minLength": 1, "maxLength": ID_BYTES_MAX}
    return [
        {"name": place[1], "in": "path", "required": True, "schema": schema}
        for place in _PLACE.finditer(route.path)
    ]


def _other_parameters(route: Route) -> list[Schema]:
    return [
        {
            "name": parameter.name,
            "in": parameter.where,
            "required": parameter.required,
            "description": parameter.description,
            "schema": {"type": "string", "maxLength": parameter.chars_max},
        }
        for parameter in route.parameters
    ]
