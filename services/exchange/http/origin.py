"""Requests that a browser sends for another site's page.

What is under /sim needs no keys, so any web page that its user happens to open could drive an
exchange on the same machine. Browsers say where a request comes from (`Origin`, `Sec-Fetch-Site`:
Fetch Standard and Fetch Metadata); other clients send neither and are not concerned.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from services.exchange.engine.refusals import forbidden

_HARMLESS = frozenset({"GET", "HEAD"})
_OWN = frozenset({b"same-origin", b"none"})  # none: typed by the user


def check_origin(method: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises Refusal for a request that would change something and comes from another site."""
    if method in _HARMLESS:
        return
    given = dict(headers)
    origin, host = given.get(b"origin"), given.get(b"host", b"")
    foreign = given.get(b"sec-fetch-site", b"none") not in _OWN
    if foreign or (origin is not None and not _same_host(origin, host)):
        told = (origin or b"another site").decode("latin-1")
        raise forbidden(
            f"a web page of {told[:100]!r} may not drive the simulation: "
            "send this request from the exchange's own page, or without an Origin header"
        )


def _same_host(origin: bytes, host: bytes) -> bool:
    try:
        found = urlsplit(origin.decode("latin-1")).netloc
    except ValueError:  # such as an unclosed bracket
        return False
    return found != "" and found.lower() == host.decode("latin-1").lower()
