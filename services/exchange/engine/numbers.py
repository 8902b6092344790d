"""Numbers as clients write them: JSON numbers or decimal text, of ordinary size.

Decimal's own reading is too wide for what strangers send: it takes `1_000`, `NaN`, digits of any
script, and exponents that no arithmetic survives.
"""

from __future__ import annotations

import re
from decimal import Decimal

_LENGTH_MAX = 24
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)


def ordinary(raw: object) -> Decimal | None:
    """The finite number that `raw` (an int, a float or text) stands for; None when it is none."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    text = repr(raw) if isinstance(raw, float) else str(raw)[: _LENGTH_MAX + 1]
    if len(text) > _LENGTH_MAX or not _NUMBER.fullmatch(text):
        return None
    return Decimal(text)
