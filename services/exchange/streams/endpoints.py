"""The streams there are: their paths, their channels, and what is sent on each."""

from __future__ import annotations

import msgspec

from libs.common.symbols import is_stock_symbol, parse_option_symbol

ORDERS_PATH = "/stream"
STOCK_FEEDS = ("iex", "sip", "delayed_sip", "boats", "overnight", "test")
OPTION_FEEDS = ("indicative", "opra")
STAR = "*"


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """`type` is the T of its messages; `note` says what is sent. One that `follows` another
    cannot be subscribed to: it lists what that one lists."""

    type: str
    note: str
    follows: str | None = None


STOCK_CHANNELS: dict[str, Channel] = {
    "trades": Channel(type="t", note="one a minute"),
    "quotes": Channel(type="q", note="one a minute"),
    "bars": Channel(type="b", note="the bar of each minute that has passed"),
    "updatedBars": Channel(type="u", note="accepted, never sent: no trade is late"),
    "dailyBars": Channel(type="d", note="the day so far, every minute"),
    "statuses": Channel(type="s", note="accepted, never sent: nothing is halted"),
    "lulds": Channel(type="l", note="accepted, never sent: there are no price bands"),
    "corrections": Channel(type="c", note="never sent: no trade is corrected", follows="trades"),
    "cancelErrors": Channel(type="x", note="never sent: no trade is cancelled", follows="trades"),
}
OPTION_CHANNELS: dict[str, Channel] = {
    "trades": Channel(type="t", note="one a minute, of contracts that have traded"),
    "quotes": Channel(type="q", note="one a minute, of contracts that are quoted; no `*`"),
}
# Channels of Alpaca's other streams: asking for them here is another error than a misspelt one.
OTHER_CHANNELS = frozenset({*STOCK_CHANNELS, "orderbooks", "news", "imbalances"})


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A market-data stream."""

    path: str
    feed: str
    options: bool
    channels: dict[str, Channel]

    def is_symbol(self, symbol: str) -> bool:
        return parse_option_symbol(symbol) is not None if self.options else is_stock_symbol(symbol)


def data_endpoint(path: str) -> Endpoint | None:
    """The market-data stream at that path; None when there is none."""
    return _ENDPOINTS.get(path)


_ENDPOINTS = {
    endpoint.path: endpoint
    for endpoint in [
        *(
            Endpoint(path=f"/v2/{feed}", feed=feed, options=False, channels=STOCK_CHANNELS)
            for feed in STOCK_FEEDS
        ),
        *(
            Endpoint(path=f"/v1beta1/{feed}", feed=feed, options=True, channels=OPTION_CHANNELS)
            for feed in OPTION_FEEDS
        ),
    ]
}
