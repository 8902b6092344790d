"""The door to a running exchange's /sim, over plain HTTP.

The standard library's client: no proxy of the environment may come between this machine's
processes, and nothing is repeated.
"""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

URL_VARIABLE = "ALPACLAUDIA_EXCHANGE_URL"
TIMEOUT_SECONDS = 120.0  # a step over years takes its time


class ExchangeRefusedError(Exception):
    """The exchange said no, or does not answer; the text is one line for a person."""


class ExchangeClient:
    """Raises ExchangeRefusedError for an address that is none."""

    def __init__(self, url: str) -> None:
        remedy = f"give an address such as http://127.0.0.1:8700 (or set {URL_VARIABLE})"
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError as error:
            raise ExchangeRefusedError(f"--url {url}: {error}; {remedy}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ExchangeRefusedError(f"--url {url}: {remedy}")
        self._url, self._host, self._secure = url, parts.hostname, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer; None when it is empty. Raises ExchangeRefusedError."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            content = None if body is None else msgspec.json.encode(body)
            connection.request(method, self._prefix + path, content)
            answer = connection.getresponse()
            return self._decoded(answer.status, answer.read())
        except ConnectionRefusedError:
            raise ExchangeRefusedError(
                f"no exchange answers at {self._url}: start one with `alpaclaudia exchange serve`,"
                f" or name it with --url or {URL_VARIABLE}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ExchangeRefusedError(f"{self._url}: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def _decoded(self, status: int, content: bytes) -> Any:
        try:
            answer = msgspec.json.decode(content) if content else None
        except msgspec.DecodeError:
            raise ExchangeRefusedError(
                f"{self._url} answers, but not as a simulated exchange does (status {status})"
            ) from None
        if status >= 300:
            said = answer.get("message") if isinstance(answer, dict) else None
            raise ExchangeRefusedError(str(said or f"{self._url} answered with status {status}"))
        return answer


def in_path(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="")
