"""How an account signs in to the bus: its seed, its inbox, and the authority it trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from libs.common.bus_accounts import inbox_prefix
from libs.common.nkey_files import SeedError, public_key, read_seed, seed_path
from libs.common.promises import BrokenPromiseError
from libs.common.settings import BusSettings

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")
"""What OpenSSL calls an answer in the clear."""
_TLS_SCHEMES = ("tls://", "wss://")


def sign_in_options(settings: BusSettings, account: str) -> dict[str, object]:
    """What nats-py's `connect` is given for it. Raises BrokenPromiseError, with what to set."""
    options: dict[str, object] = {
        "nkeys_seed_str": _seed(settings, account),
        "inbox_prefix": inbox_prefix(account),
    }
    context = tls_context(settings)
    if context is not None:
        options["tls"] = context
        # Else the server would say first, in the clear, whether it wants TLS, and so could
        # anybody between it and us.
        options["tls_handshake_first"] = True
    return options


def distrust(error: Exception) -> str | None:
    """What is wrong with the server's proof of who it is, in words, where that is the trouble: no
    patience mends it.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return "it does not speak TLS, which NATS_TLS_CA or tls:// asks for"
    return None


def tls_context(settings: BusSettings) -> ssl.SSLContext | None:
    """None for a server that is spoken to in the clear, which only a loopback one should be.

    With NATS_TLS_CA that authority alone is trusted, else the system's. Raises BrokenPromiseError.
    """
    if settings.tls_ca is None:
        secure = (settings.url or "").startswith(_TLS_SCHEMES)
        return ssl.create_default_context() if secure else None
    try:
        return ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ValueError) as error:
        raise BrokenPromiseError(
            f"NATS_TLS_CA: {settings.tls_ca} holds no certificate that can be read"
            f" ({error.__class__.__name__})"
        ) from None


def _seed(settings: BusSettings, account: str) -> str:
    try:
        if settings.nkey_seed:
            public_key(settings.nkey_seed, "NATS_NKEY_SEED")
            return settings.nkey_seed
        if settings.seeds_folder:
            path = seed_path(Path(settings.seeds_folder), account)
            seed = read_seed(path)
            public_key(seed, path)
            return seed
    except SeedError as error:
        raise BrokenPromiseError(str(error)) from None
    raise BrokenPromiseError(
        "neither NATS_NKEY_SEED nor NATS_SEEDS_FOLDER is set, so there is no key to sign in to"
        " NATS with; `alpaclaudia provision --out FOLDER` makes them"
    )
