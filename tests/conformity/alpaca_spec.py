"""Alpaca's two OpenAPI documents, corrected where they are wrong and sharpened where they are lax.

They ship in the package `alpaca-mcp-server` (for tests only; its code is never imported).

The documents require few fields. What an example of theirs shows is required here as well
(`SHOWN`), and an activity is held against the schema of its own type. Where a document is wrong or
silent, `CORRECTIONS` and `UNDOCUMENTED` say so, each with the reason and where that is known from.
"""

from __future__ import annotations

import copy
import json
from functools import cache
from importlib import metadata
from typing import Any, NamedTuple

from tests.conformity.judge import Document, Judge, Undocumented, find

PACKAGE = "alpaca-mcp-server"
TRADING_FILE, DATA_FILE = "trading-api.json", "market-data-api.json"


class Correction(NamedTuple):
    """What a document says at a JSON pointer, and what is right instead."""

    file: str
    pointer: str
    wrong: Any
    right: Any
    why: str


CORRECTIONS = (
    Correction(
        TRADING_FILE,
        "/components/schemas/NonTradeActivities/properties/date/format",
        "date-time",
        "date",
        "the document's own example of the schema has 2019-08-01; alpaca-py: date: Optional[date]",
    ),
    Correction(
        TRADING_FILE,
        "/components/schemas/CorporateActionCaType/enum",
        ["Spinoff", "Merger", "Split", "Reorg", "Dividend"],
        ["spinoff", "merger", "split", "reorg", "dividend"],
        "alpaca-py sends and reads lower case: CorporateActionType.DIVIDEND = 'dividend'",
    ),
)
UNDOCUMENTED = (
    Undocumented(400, ("code", "message"), "malformed JSON is answered with 40010000"),
    Undocumented(401, ("message",), 'wrong keys are answered with {"message": "unauthorized"}'),
    Undocumented(
        403,
        ("code", "message"),
        "buying power, levels, held quantities: 40310000; orders list the status without a body",
    ),
    Undocumented(
        404,
        ("code", "message"),
        "alpaca-py reads `code` of a 404; the document has one for contracts: 40410000",
    ),
    Undocumented(
        422, ("code", "message"), "bad values: 42210000; orders list the status without a body"
    ),
    Undocumented(429, ("code", "message"), "alpaca-py retries on it; the code is 42910000"),
)

# Component → pointers to examples whose fields every answer has; none: the component's own.
SHOWN: dict[str, tuple[str, ...]] = {
    "Account": (),
    "AccountConfigurations": (),
    "Assets": (),
    "CanceledOrderResponse": (),
    "Position": (),
    "PositionClosedResponse": (),
    "TradingActivities": (),
    "Watchlist": (),
    "WatchlistWithoutAsset": (),
    "Order": (
        "/components/examples/EquityOrderResponse/value",
        "/components/examples/OptionOrderResponse/value",
        "/components/examples/BracketOrderResponse/value",
    ),
}
NOT_ALWAYS: dict[str, tuple[str, ...]] = {
    # The example is of a margin account; alpaca-py's TradeAccount has neither field.
    "Account": ("intraday_adjustments", "pending_reg_taf_fees"),
    # Where closing was refused there is no order; alpaca-py: Union[FailedClosePositionDetails, …].
    "PositionClosedResponse": ("body",),
}
# Every activity is one of two records, told apart by its type; the document admits any mixture.
ACTIVITY = {
    "if": {"properties": {"activity_type": {"const": "FILL"}}},
    "then": {"$ref": "#/components/schemas/TradingActivities"},
    "else": {"$ref": "#/components/schemas/NonTradeActivities"},
    "required": ["id", "activity_type"],
}
ACTIVITIES = ("/v2/account/activities", "/v2/account/activities/{activity_type}")


@cache
def raw_document(file: str) -> Document:
    """As shipped. Read from the distribution's list of files; the package is not imported."""
    for path in metadata.files(PACKAGE) or ():
        if path.name == file:
            return dict(json.loads(path.read_text(encoding="utf-8")))
    raise LookupError(f"{PACKAGE} ships no {file}")


@cache
def document(file: str) -> Document:
    """Corrected and sharpened."""
    made = copy.deepcopy(raw_document(file))
    for correction in CORRECTIONS:
        if correction.file == file:
            parent, _, name = correction.pointer.rpartition("/")
            place = find(made, parent)
            if place[name] != correction.wrong:
                raise ValueError(f"{correction.pointer} is {place[name]!r}: correct it no more")
            place[name] = correction.right
    if file == TRADING_FILE:
        _sharpen(made)
    return dict(_without_prose(made))


def alpaca_judge() -> Judge:
    return Judge({f"urn:alpaca:{f}": document(f) for f in (TRADING_FILE, DATA_FILE)}, UNDOCUMENTED)


def _sharpen(made: Document) -> None:
    for name, pointers in SHOWN.items():
        schema = made["components"]["schemas"][name]
        examples = [find(made, pointer) for pointer in pointers] or schema["examples"]
        always = set.intersection(*(set(example) for example in examples))
        always -= set(NOT_ALWAYS.get(name, ()))
        schema["required"] = sorted(always | set(schema.get("required", ())))
        for field in always - set(schema["properties"]):  # an order's `source` and `subtag`
            schema["properties"][field] = {}
    for path in ACTIVITIES:
        answer = made["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        answer["schema"]["items"] = ACTIVITY


def _without_prose(value: Any) -> Any:
    """Texts and examples left out: they are copied into every evaluation, and judge nothing."""
    if isinstance(value, list):
        return [_without_prose(each) for each in value]
    if not isinstance(value, dict):
        return value
    prose = {"description": str, "title": str, "examples": list, "example": object}
    return {
        name: _without_prose(each)
        for name, each in value.items()
        if not (name in prose and isinstance(each, prose[name]))
    }
