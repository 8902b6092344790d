"""How the commands of `alpaclaudia exchange` end when they cannot do what they were asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from services.cli.options import OptionError, fail


@contextmanager
def clear_errors() -> Iterator[None]:
    """Errors meant for a person become one line: status 2 for a value that cannot be, else 1."""
    from libs.common.settings_sources import SettingsError
    from services.cli.exchange_client import ExchangeRefusedError

    try:
        yield
    except OptionError as error:
        raise fail(str(error), 2) from None
    except (ExchangeRefusedError, OSError) as error:
        raise fail(str(error)) from None
    except SettingsError as error:
        raise fail(f"settings:\n{error}", 78) from None
    except KeyboardInterrupt:
        raise fail("interrupted", 130) from None
