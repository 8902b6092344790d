"""Numbers as clients write them: JSON numbers or decimal text, of ordinary size.

Decimal's own reading is too wide for what strangers send: it takes `1_000`, `NaN`, digits of any
script, and exponents that no arithmetic survives.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

_LENGTH_MAX = 24
_LARGEST = 10**_LENGTH_MAX
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)


def ordinary(raw: object) -> Decimal | None:
    """The finite number that `raw` (an int, a float or text) stands for; None when it is none."""
    match raw:
        case bool():
            return None
        case int():
            return Decimal(raw) if abs(raw) < _LARGEST else None
        case float():
            return Decimal(repr(raw)) if math.isfinite(raw) and abs(raw) < _LARGEST else None
        case str():
            good = len(raw) <= _LENGTH_MAX and _NUMBER.fullmatch(raw)
            return Decimal(raw) if good else None
        case _:
            return None
