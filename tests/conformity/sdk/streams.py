"""The streams, method by method."""

from __future__ import annotations

from tests.conformity.sdk.desk import Rows

STREAMS: tuple[Rows, ...] = ()
