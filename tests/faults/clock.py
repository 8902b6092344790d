"""`python -m tests.faults.clock SERVICE SECONDS`: a service whose wall clock is off by so much.

Everything in a service asks one function for the time, which is replaced before any of it is
imported.
"""

from __future__ import annotations

import datetime as dt
import importlib
import sys

from libs.common import runtime


def main() -> int:
    service, offset = sys.argv[1], dt.timedelta(seconds=int(sys.argv[2]))
    true_now = runtime.utc_now
    runtime.utc_now = lambda: true_now() + offset
    status: int = importlib.import_module(f"services.{service}.service").main()
    return status


if __name__ == "__main__":
    sys.exit(main())
