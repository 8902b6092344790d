"""Which methods of alpaca-py's stream clients work here, as a table for the documentation."""

from __future__ import annotations

import msgspec

from services.exchange.streams.endpoints import OPTION_CHANNELS, STOCK_CHANNELS, Channel

TRADING, STOCKS, OPTIONS = "TradingStream", "StockDataStream", "OptionDataStream"


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """`note` says what comes of it; every method is accepted."""

    client: str
    name: str
    note: str


# What alpaca-py calls a channel, where it has a name of its own for it.
_CALLED = {
    "updatedBars": "updated_bars",
    "dailyBars": "daily_bars",
    "statuses": "trading_statuses",
    "corrections": "trade_corrections",
    "cancelErrors": "trade_cancels",
}
_NOT_IN_ALPACA_PY = ("lulds",)


def _methods(client: str, channels: dict[str, Channel]) -> list[Method]:
    made = []
    for name, channel in channels.items():
        called = _CALLED.get(name, name)
        if name in _NOT_IN_ALPACA_PY:
            continue
        if channel.follows is not None:
            made.append(Method(client=client, name=f"register_{called}", note=channel.note))
            continue
        made.append(Method(client=client, name=f"subscribe_{called}", note=channel.note))
        made.append(Method(client=client, name=f"unsubscribe_{called}", note="works"))
    return made


METHODS: list[Method] = [
    Method(
        client=TRADING,
        name="subscribe_trade_updates",
        note="every event of the account's orders, as it happens; no replay after a reconnect",
    ),
    *_methods(STOCKS, STOCK_CHANNELS),
    *_methods(OPTIONS, OPTION_CHANNELS),
]
