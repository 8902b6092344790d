"""Every answer of a session, judged as it comes and counted."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import requests

from services.exchange.http.openapi import document
from tests.conformity.alpaca_spec import alpaca_judge
from tests.conformity.judge import Judge

Endpoint = tuple[str, str]

# Fields beyond Alpaca's documents, as patterns of path and pointer, and why they are right.
BEYOND_ALPACA: dict[str, str] = {
    r"/v2/account/activities(/\{type\})? /\*/price": (
        "the documentation's option rows (OPTRD) show the price a share"
    ),
    r"/v2/(orders|positions).* .*/?legs/\*/(expires_at|source|subtag)": (
        "the document's OrderLeg is a copy of Order that lacks expires_at; its bracket example "
        "has source and subtag in the legs"
    ),
}


class Recorder:
    """A requests response hook: `session.hooks["response"].append(recorder)`.

    Answers of Alpaca's paths are judged by Alpaca's documents and by ours, the simulation's own
    paths by ours alone.
    """

    def __init__(self, mounted: list[Endpoint]) -> None:
        self._mounted = mounted
        self._alpaca = alpaca_judge()
        self._ours = Judge({"urn:ours": document(mounted)})
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self.elsewhere: Counter[Endpoint] = Counter()  # paths that are not mounted
        self.wrong: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()

    def __call__(self, response: requests.Response, *_: Any, **__: Any) -> None:
        method, path = str(response.request.method), urlsplit(str(response.url)).path
        operation = self._ours.operation(method, path)
        if operation is None:
            self.elsewhere[method, path] += 1
            return
        where = operation.path
        self.counts[method, where, response.status_code] += 1
        judges = {"ours": self._ours}
        if path != "/" and not path.startswith(("/sim/", "/openapi")):
            judges["Alpaca's"] = self._alpaca
        headers = {name.lower(): value for name, value in response.headers.items()}
        for name, judge in judges.items():
            wrong, unknown = judge.judge(
                method, path, response.status_code, headers, response.content
            )
            for each in wrong:
                text = f"{method} {where} {response.status_code} by {name}: {_of_any(each)}"
                self.wrong[text] += 1
            for each in unknown:
                self.unknown[f"{where} {_of_any(each)}"] += 1

    def unexercised(self) -> list[Endpoint]:
        """Mounted endpoints that never answered with success."""
        answered = {(method, path) for (method, path, status) in self.counts if 200 <= status < 300}
        return [endpoint for endpoint in self._mounted if endpoint not in answered]

    def unexplained(self) -> dict[str, int]:
        """Fields beyond Alpaca's documents for which no reason is given."""
        return {
            field: count
            for field, count in self.unknown.items()
            if not any(re.fullmatch(pattern, field) for pattern in BEYOND_ALPACA)
        }


def _of_any(text: str) -> str:
    """The same fault in many rows counts as one: places in lists and symbols are left out."""
    text = re.sub(r"/\d+(?=[/:]|$)", "/*", text)
    return re.sub(r"\b[A-Z]{1,5}1?\d{6}[CP]\d{8}\b", "*", text)
