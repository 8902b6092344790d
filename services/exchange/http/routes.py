"""Which endpoint a request is for: exact paths by a dictionary, paths with parameters by pattern.

Starlette's router tries its routes one after the other, which at a hundred of them takes longer
than answering; its patterns are used for the paths that need one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from starlette.routing import compile_path

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
