"""Which endpoint a request is for: exact paths by a dictionary, paths with parameters by pattern.

Starlette's router tries its routes one after the other, which at a hundred of them takes longer
than answering; its patterns are used for the paths that need one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.routing import compile_path

from services.exchange.http.answers import Scope
from services.exchange.http.call import Endpoint


class Route(NamedTuple):
    method: str
    path: str
    endpoint: Endpoint
    family: str  # requests are counted by it


class Found(NamedTuple):
    route: Route
    parameters: dict[str, Any]


class Routes:
    """Raises ValueError when two endpoints have the same method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = list(routes)
        self._exact: dict[tuple[str, str], Found] = {}
        self._patterns: list[tuple[re.Pattern[str], str, Route]] = []
        for route in self.all:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" not in route.path:
            if (route.method, route.path) in self._exact:
                raise ValueError(f"{route.method} {route.path} has two endpoints")
            self._exact[route.method, route.path] = Found(route, {})
            return
        pattern, _, _ = compile_path(route.path)
        self._patterns.append((pattern, route.method, route))

    def find(self, method: str, path: str) -> Found | None:
        found = self._exact.get((method, path))
        if found is not None:
            return found
        for pattern, allowed, route in self._patterns:
            if allowed == method:
                match = pattern.match(path)
                if match is not None:
                    return Found(route, match.groupdict())
        return None


def path_of(scope: Scope) -> str:
    """The request's path. A slash that came encoded stays so: it is part of a parameter, such as
    BTC%2FUSD, and must not lead to another endpoint."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2F" in raw or b"%2f" in raw:
        parts = raw.decode("latin-1").split("/")
        return "/".join(unquote(part).replace("/", "%2F") for part in parts)
    path: str = scope["path"]
    return path
