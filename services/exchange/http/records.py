"""What is answered and what may be sent, record by record, in a notation of one line a field group.

`name:type` is always there, `name?:type` may be absent, `type?` may be null. Types: text, uuid,
money (a number as a string), amount (a number above zero, or one as a string), balance (the same
or zero), time (RFC 3339), date, whole,
number, flag, any, =a|b (one of), Name (a record), [type] (a list), {type} (a map by name).
Records are closed: what is not named here is not answered.
"""

from __future__ import annotations

import re
from typing import Any

Schema = dict[str, Any]

_NAMED: dict[str, Schema] = {
    "text": {"type": "string"},
    "uuid": {"type": "string", "format": "uuid"},
    "money": {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
    "amount": {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 1_000_000},
            {"type": "string", "pattern": r"^\d{1,6}(\.\d{1,4})?$"},
        ]
    },
    "balance": {
        "anyOf": [
            {"type": "number", "minimum": 0, "maximum": 1_000_000_000},
            {"type": "string", "pattern": r"^\d{1,9}(\.\d{1,4})?$"},
        ]
    },
    "time": {"type": "string", "format": "date-time"},
    "date": {"type": "string", "format": "date"},
    "whole": {"type": "integer"},
    "number": {"type": "number"},
    "flag": {"type": "boolean"},
    "any": {},
}
_FIELD = re.compile(r"(?P<name>\w+)(?P<absent>\??):(?P<type>\S+)")

_BAR = "t:time o:number h:number l:number c:number v:whole n:whole vw:number"
_STATES = (
    "=new|accepted|partially_filled|filled|done_for_day|canceled|expired|replaced|pending_new|"
    "pending_cancel|pending_replace|rejected|suspended|stopped|held|calculated|accepted_for_bidding"
)
_TERMS = (
    "side:=buy|sell type:=market|limit|stop|stop_limit|trailing_stop "
    "time_in_force:=day|gtc|opg|cls|ioc|fok position_intent?:"
    "=buy_to_open|buy_to_close|sell_to_open|sell_to_close "
)

_FAULT = """kind:=delay|rate_limited|error|error_after|reset|reset_after|hang|hang_after|malformed|
    malformed_after|altered|missing_greeks|missing_quotes|stale_quotes|drop|mute|duplicate|reorder
    id{0}:text method{0}:=GET|POST|PUT|PATCH|DELETE|* path{0}:text
    stream{0}:=trade_updates|stocks|options|* key?:text? rate{0}:number seed{0}:whole skip{0}:whole
    times?:whole? seconds?:number? status?:whole? code?:whole? message?:text? body?:text?
    share?:number? fields?:{{any}}? rows?:[{{any}}]? """.replace("|\n    ", "|")

RECORDS: dict[str, str] = {
    "Error": """code?:whole message:text symbol?:text existing_order_id?:uuid reject_reason?:text
        required_options_buying_power?:money buying_power?:money cost_basis?:money
        existing_qty?:money held_for_orders?:money available?:money base_price?:money""",
    # --- trading ---
    "Account": """id:uuid account_number:text status:=ACTIVE crypto_status:=INACTIVE
        currency:=USD cash:money equity:money last_equity:money portfolio_value:money
        buying_power:money regt_buying_power:money options_buying_power:money
        non_marginable_buying_power:money multiplier:=1 initial_margin:money
        maintenance_margin:money last_maintenance_margin:money long_market_value:money
        short_market_value:money sma:money accrued_fees:money pending_transfer_in:money
        pending_transfer_out:money options_approved_level:whole options_trading_level:whole
        trading_blocked:flag account_blocked:flag transfers_blocked:flag
        trade_suspended_by_user:flag shorting_enabled:flag created_at:time balance_asof:date""",
    "Configurations": """disable_overnight_trading:flag fractional_trading:flag
        max_margin_multiplier:text max_options_trading_level:whole no_shorting:flag
        ptp_no_exception_entry:flag suspend_trade:flag trade_confirm_email:=all|none""",
    "PortfolioHistory": """timestamp:[whole] equity:[number?] profit_loss:[number?]
        profit_loss_pct:[number?] base_value:number? base_value_asof?:date
        timeframe:=1Min|5Min|15Min|1H|1D cashflow?:{[number]}""",
    "Order": f"""id:uuid client_order_id:text created_at:time updated_at:time submitted_at:time
        filled_at:time? expired_at:time? expires_at:time canceled_at:time? failed_at:time?
        replaced_at:time? replaced_by:uuid? replaces:uuid? asset_id:uuid symbol:text
        asset_class:=us_equity|us_option notional:money? qty:money? filled_qty:money
        filled_avg_price:money? order_class:=simple|bracket|oto|oco order_type:text
        {_TERMS} limit_price:money? stop_price:money? status:{_STATES} extended_hours:flag
        legs:[Order]? trail_percent:money? trail_price:money? hwm:money? source:text?
        subtag:text? group_id?:uuid group_role?:=entry|take_profit|stop_loss""",
    "CancelledOrder": "id:uuid status:whole body?:any",
    "ClosedPosition": "symbol:text status:whole body?:any",
    "Position": """asset_id:uuid symbol:text exchange:text asset_class:=us_equity|us_option
        asset_marginable:flag qty:money qty_available:money avg_entry_price:money
        side:=long|short market_value:money cost_basis:money unrealized_pl:money
        unrealized_plpc:money unrealized_intraday_pl:money unrealized_intraday_plpc:money
        current_price:money lastday_price:money change_today:money""",
    "Activity": """id:text activity_type:text symbol?:text qty?:money price?:money
        transaction_time?:time type?:=fill|partial_fill side?:=buy|sell leaves_qty?:money
        order_id?:uuid cum_qty?:money order_status?:=filled|partially_filled date?:date
        net_amount?:money per_share_amount?:money description?:text status?:=executed
        activity_sub_type?:text created_at?:time group_id?:text""",
    "Clock": "timestamp:time is_open:flag next_open:time next_close:time",
    "Session": """date:date open:text close:text session_open:text session_close:text
        settlement_date:date""",
    "Asset": """id:uuid class:=us_equity exchange:text symbol:text name:text
        status:=active|inactive tradable:flag marginable:flag shortable:flag
        easy_to_borrow:flag borrow_status?:=easy_to_borrow|hard_to_borrow fractionable:flag
        attributes:[text] cusip?:text? maintenance_margin_requirement?:number
        margin_requirement_long?:text margin_requirement_short?:text min_order_size?:text
        min_trade_increment?:text price_increment?:text""",
    "Deliverable": """type:=cash|equity symbol:text asset_id?:uuid amount:text
        allocation_percentage:text settlement_type:text settlement_method:text
        delayed_settlement:flag""",
    "Contract": """id:uuid symbol:text name:text status:=active|inactive tradable:flag
        expiration_date:date root_symbol:text underlying_symbol:text underlying_asset_id:uuid
        type:=call|put style:=american strike_price:money multiplier:money size:money
        ppind:flag open_interest:money open_interest_date:date close_price:money
        close_price_date:date deliverables?:[Deliverable]""",
    "Contracts": "option_contracts:[Contract] next_page_token:text?",
    "NamedWatchlist": "id:uuid account_id:uuid created_at:time updated_at:time name:text",
    "Watchlist": """id:uuid account_id:uuid created_at:time updated_at:time name:text
        assets:[Asset]""",
    "Announcement": """id:uuid corporate_action_id:text ca_type:=dividend|split
        ca_sub_type:=cash|stock_split|reverse_split initiating_symbol:text
        initiating_original_cusip:text target_symbol:text target_original_cusip:text
        effective_date:date ex_date:date record_date:date payable_date:date cash:money
        old_rate:money new_rate:money""",
    # --- market data ---
    "Trade": "t:time x:text p:number s:whole c:[text] i:whole z:text",
    "Quote": "t:time ax:text ap:number as:whole bx:text bp:number bs:whole c:[text] z:text",
    "Bar": _BAR,
    "Snapshot": """latestTrade:Trade latestQuote:Quote minuteBar?:Bar dailyBar:Bar
        prevDailyBar:Bar""",
    "NamedSnapshot": """symbol:text latestTrade:Trade latestQuote:Quote minuteBar?:Bar dailyBar:Bar
        prevDailyBar:Bar currency?:text""",
    "LatestQuotes": "quotes:{Quote} currency?:text",
    "LatestTrades": "trades:{Trade} currency?:text",
    "LatestBars": "bars:{Bar} currency?:text",
    "LatestQuote": "symbol:text quote:Quote currency?:text",
    "LatestTrade": "symbol:text trade:Trade currency?:text",
    "LatestBar": "symbol:text bar:Bar currency?:text",
    "Quotes": "quotes:{[Quote]} next_page_token:text? currency?:text",
    "Trades": "trades:{[Trade]} next_page_token:text? currency?:text",
    "Bars": "bars:{[Bar]} next_page_token:text? currency?:text",
    "QuotesOfOne": "symbol:text quotes:[Quote] next_page_token:text? currency?:text",
    "TradesOfOne": "symbol:text trades:[Trade] next_page_token:text? currency?:text",
    "BarsOfOne": "symbol:text bars:[Bar] next_page_token:text? currency?:text",
    "OptionTrade": "t:time x:text p:number s:whole c:text",
    "OptionQuote": "t:time ax:text ap:number as:whole bx:text bp:number bs:whole c:text",
    "Greeks": "delta:number gamma:number rho:number theta:number vega:number",
    "OptionSnapshot": """greeks?:Greeks impliedVolatility?:number latestQuote?:OptionQuote
        latestTrade?:OptionTrade minuteBar?:Bar dailyBar?:Bar prevDailyBar?:Bar""",
    "OptionSnapshots": "snapshots:{OptionSnapshot} next_page_token:text?",
    "LatestOptionQuotes": "quotes:{OptionQuote}",
    "LatestOptionTrades": "trades:{OptionTrade}",
    "OptionTrades": "trades:{[OptionTrade]} next_page_token:text?",
    "CorporateActions": "corporate_actions:ActionsByType next_page_token:text?",
    "ActionsByType": """cash_dividends?:[CashDividend] forward_splits?:[ForwardSplit]
        reverse_splits?:[ReverseSplit]""",
    "CashDividend": """id:uuid symbol:text cusip:text rate:number special:flag foreign:flag
        process_date:date ex_date:date record_date:date payable_date:date""",
    "ForwardSplit": """id:uuid symbol:text cusip:text new_rate:number old_rate:number
        process_date:date ex_date:date""",
    "ReverseSplit": """id:uuid symbol:text old_cusip:text new_cusip:text new_rate:number
        old_rate:number process_date:date ex_date:date""",
    # --- the simulation ---
    "Health": "status:=ok",
    "State": """simulated_time:time is_open:flag waiting_for_client:flag paused:flag ended:flag
        speed:number seed:whole symbols:[text] accounts:[SimulatedAccount] open_orders:whole
        positions:whole note:text next_open:time next_close:time""",
    "SimulatedAccount": """key:text account_number:text equity:money cash:money
        options_level:whole open_orders:whole positions:{money}""",
    "SimulatedBooks": """account:Account positions:[Position] open_orders:[Order]
        latest_orders:[Order] activities:[Activity] opening_equity:money
        equity_closes:[EquityClose]""",
    "EquityClose": "date:date equity:money",
    "SimulatedQuote": "symbol:text last:number bid:number ask:number previous_close:number",
    "SimulatedClock": "simulated_time:time is_open:flag paused:flag speed:number ended:flag",
    "SimulatedAction": """type:=cash_dividend|split id:text symbol:text ex_date:date rate?:money
        record_date?:date payable_date?:date special?:flag new_rate?:money old_rate?:money""",
    "Fault": _FAULT.format("") + "matched:whole injected:whole",
    "AskedRequest": """number:whole method:text path:text query:{text} body:text body_bytes:whole
        key:text? status:whole? fault:text?""",
    # --- what is sent ---
    "NewFault": _FAULT.format("?"),
    "NewOrder": f"""symbol:text qty?:amount notional?:amount? {_TERMS} limit_price?:amount?
        stop_price?:amount? trail_price?:amount? trail_percent?:amount? extended_hours?:flag
        client_order_id?:text order_class?:=simple|bracket|oto|oco
        take_profit?:TakeProfit? stop_loss?:StopLoss?""",
    "NewConfigurations": """disable_overnight_trading?:flag fractional_trading?:flag
        max_margin_multiplier?:=1|2|4 max_options_trading_level?:whole? no_shorting?:flag
        ptp_no_exception_entry?:flag suspend_trade?:flag trade_confirm_email?:=all|none
        dtbp_check?:any pdt_check?:any""",
    "TakeProfit": "limit_price:amount",
    "StopLoss": "stop_price:amount limit_price?:amount?",
    "Step": "minutes?:number? sessions?:whole? to?:text?",
    "ClockSettings": "paused?:flag? speed?:number?",
    "NewAccount": """key:text secret:text cash?:balance options_level?:whole
        positions?:{Holding}""",
    "AccountReset": "cash?:balance options_level?:whole positions?:{Holding}",
    "Holding": "qty:amount avg_entry_price?:balance?",
    "NewAction": """type:=cash_dividend|split symbol:text ex_date:date rate?:amount?
        new_rate?:amount? old_rate?:amount? record_date?:date? payable_date?:date?""",
    "NewWatchlist": "name:text symbols?:[text]?",
    "WatchlistChanges": "name?:text? symbols?:[text]?",
    "WatchlistAddition": "symbol:text",
    "Replacement": """qty?:amount time_in_force?:=day|gtc|opg|cls|ioc|fok limit_price?:amount
        stop_price?:amount trail?:amount client_order_id?:text""",
}


def schemas() -> dict[str, Schema]:
    """Every record as a JSON Schema, by name."""
    return {name: record(text) for name, text in RECORDS.items()}


def record(text: str) -> Schema:
    """Raises ValueError for what the notation does not know."""
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for word in text.split():
        match = _FIELD.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no field")
        properties[match["name"]] = schema_of(match["type"])
        if not match["absent"]:
            required.append(match["name"])
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def schema_of(text: str) -> Schema:
    """The JSON Schema of a type in the notation; a record is referred to."""
    if text.endswith("?"):
        return {"anyOf": [schema_of(text[:-1]), {"type": "null"}]}
    if text.startswith("="):
        return {"type": "string", "enum": text[1:].split("|")}
    if text.startswith("["):
        return {"type": "array", "items": schema_of(text[1:-1])}
    if text.startswith("{"):
        return {"type": "object", "additionalProperties": schema_of(text[1:-1])}
    if text in RECORDS:
        return {"$ref": f"#/components/schemas/{text}"}
    if text in _NAMED:
        return dict(_NAMED[text])
    raise ValueError(f"{text!r} is no type")
