"""Requests that a browser sends for another site's page.

What is under /sim needs no keys, so any web page that its user happens to open could drive an
exchange on the same machine. Browsers say where a request comes from (`Origin`, `Sec-Fetch-Site`:
Fetch Standard and Fetch Metadata); other clients send neither and are not concerned.

A site may also let its own name point to this machine (DNS rebinding): then its page is of the same
origin as the exchange. So a page may drive it under an address, or under a name that nobody can
have in the public DNS: one without a dot, or of a domain that is reserved for private use.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from services.exchange.engine.refusals import forbidden

_HARMLESS = frozenset({"GET", "HEAD"})
_OWN = frozenset({b"same-origin", b"none"})  # none: typed by the user
# RFC 6761 and 6762, RFC 8375, and what ICANN set aside in 2024.
_PRIVATE_DOMAINS = ("localhost", "test", "local", "home.arpa", "internal")


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
            "send this request from the exchange's own page, opened by its address, or without an "
            "Origin header"
        )


def _same_host(origin: bytes, host: bytes) -> bool:
    """Whether a page of that origin is the exchange's own, wherever names point to."""
    try:
        page = urlsplit(origin.decode("latin-1"))
        own = page.netloc != "" and page.netloc.lower() == host.decode("latin-1").lower()
        return own and _is_private(page)
    except ValueError:  # such as an unclosed bracket
        return False


def _is_private(page: SplitResult) -> bool:
    name = (page.hostname or "").removesuffix(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        domains = tuple(f".{domain}" for domain in _PRIVATE_DOMAINS)
        return "." not in name or name.endswith(domains)
    return True
