"""TradingClient's orders and positions, method by method."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from alpaca.trading.enums import (
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionIntent,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.models import ClosePositionResponse, Order, Position
from alpaca.trading.requests import (
    CancelOrderResponse,
    ClosePositionRequest,
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OptionLegRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from tests.conformity.sdk.desk import CALL, PUT, Desk, Rows

TRADING_ORDERS = Rows("TradingClient")
works, refused = TRADING_ORDERS.works, TRADING_ORDERS.refused
not_offered = TRADING_ORDERS.not_offered
BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC


def limit(symbol: str = "MSFT", side: OrderSide = BUY, price: float = 100.0, **more: Any) -> Any:
    terms: dict[str, Any] = {"symbol": symbol, "side": side, "qty": 1, "time_in_force": GTC}
    return LimitOrderRequest(**(terms | {"limit_price": price} | more))


def market(symbol: str = "MSFT", side: OrderSide = BUY, **more: Any) -> Any:
    terms: dict[str, Any] = {"symbol": symbol, "side": side, "time_in_force": DAY}
    return MarketOrderRequest(**(terms | ({} if "notional" in more else {"qty": 1}) | more))


def filled(at: Desk, order: Order) -> Order:
    """The order as it stands a minute later."""
    at.step(minutes=1)
    found = at.trading.get_order_by_id(order.id)
    assert found.status is OrderStatus.FILLED, found.status
    assert float(found.filled_qty) > 0
    assert float(found.filled_avg_price) > 0
    return found


# --- submit_order ------------------------------------------------------------------------------


@works("submit_order", "market, stocks", "fills at the quote")
def _(at: Desk) -> None:
    order = at.trading.submit_order(market())
    assert isinstance(order, Order)
    assert filled(at, order).filled_qty == "1"


@works("submit_order", "limit, day and gtc")
def _(at: Desk) -> None:
    for tif in (DAY, GTC):
        order = at.trading.submit_order(limit(time_in_force=tif))
        assert (order.status, order.time_in_force) == (OrderStatus.NEW, tif)


@works("submit_order", "stop")
def _(at: Desk) -> None:
    request = StopOrderRequest(symbol="KO", side=SELL, qty=1, time_in_force=GTC, stop_price=40)
    assert at.trading.submit_order(request).stop_price == "40"


@works("submit_order", "stop_limit")
def _(at: Desk) -> None:
    request = StopLimitOrderRequest(
        symbol="KO", side=SELL, qty=1, time_in_force=GTC, stop_price=40, limit_price=39
    )
    order = at.trading.submit_order(request)
    assert (order.stop_price, order.limit_price) == ("40", "39")


@works("submit_order", "trailing_stop, percent and price", "`hwm` and `stop_price` move")
def _(at: Desk) -> None:
    for trail in ({"trail_percent": 20}, {"trail_price": 10}):
        request = TrailingStopOrderRequest(
            symbol="KO", side=SELL, qty=1, time_in_force=GTC, **trail
        )
        order = at.trading.submit_order(request)
        before = float(order.hwm)
        assert float(order.stop_price) < before
    at.step(minutes=240)
    assert float(at.trading.get_order_by_id(order.id).hwm) > before


@works("submit_order", "opg and cls", "fill in the auction, or end there")
def _(at: Desk) -> None:
    closing = at.trading.submit_order(market(time_in_force=TimeInForce.CLS))
    assert closing.status is OrderStatus.NEW
    at.step(to="close")
    at.step(minutes=240)  # orders for the opening are taken from 19:00 on
    opening = at.trading.submit_order(market("AAPL", time_in_force=TimeInForce.OPG))
    assert opening.status is OrderStatus.ACCEPTED
    at.step(to="open")
    filled(at, closing)
    filled(at, opening)


@works("submit_order", "ioc and fok")
def _(at: Desk) -> None:
    for tif in (TimeInForce.IOC, TimeInForce.FOK):
        assert filled(at, at.trading.submit_order(market(time_in_force=tif)))
        missed = at.trading.submit_order(limit(time_in_force=tif))
        assert at.trading.get_order_by_id(missed.id).status is OrderStatus.CANCELED


@works("submit_order", "fractional and notional", "day orders, simple class")
def _(at: Desk) -> None:
    assert filled(at, at.trading.submit_order(market(qty=0.5))).filled_qty == "0.5"
    order = filled(at, at.trading.submit_order(market(notional=250.5)))
    assert float(order.filled_qty) * float(order.filled_avg_price) < 250.51
    assert order.qty is None


@works("submit_order", "bracket, oto, oco", "one exit cancels the other")
def _(at: Desk) -> None:
    profit, loss = TakeProfitRequest(limit_price=300), StopLossRequest(stop_price=90)
    exits = {"take_profit": profit, "stop_loss": loss}
    bracket = market(order_class=OrderClass.BRACKET, **exits)
    assert len(at.trading.submit_order(bracket).legs) == 2
    oto = market("AAPL", order_class=OrderClass.OTO, stop_loss=StopLossRequest(stop_price=30))
    assert len(at.trading.submit_order(oto).legs) == 1
    pair = {
        "take_profit": TakeProfitRequest(limit_price=90),
        "stop_loss": StopLossRequest(stop_price=30),
    }
    oco = limit("KO", SELL, price=90, order_class=OrderClass.OCO, **pair)
    first = at.trading.submit_order(oco)
    at.trading.cancel_order_by_id(first.id)
    assert at.trading.get_order_by_id(first.legs[0].id).status is OrderStatus.CANCELED


@works("submit_order", "cash-secured put", "strike x 100 is held")
def _(at: Desk) -> None:
    before = float(at.trading.get_account().options_buying_power)
    order = at.trading.submit_order(limit(PUT, SELL, price=2.5))
    assert order.position_intent is PositionIntent.SELL_TO_OPEN
    after = float(at.trading.get_account().options_buying_power)
    assert before - after == 7_000


@works("submit_order", "covered call", "100 shares are held")
def _(at: Desk) -> None:
    filled(at, at.trading.submit_order(market(CALL, SELL)))
    assert at.trading.get_open_position(CALL).qty == "-1"
    assert at.trading.get_open_position("AAPL").qty_available == "200"


@works("submit_order", "long option, stop and stop_limit on options")
def _(at: Desk) -> None:
    filled(at, at.trading.submit_order(market(CALL)))
    terms = {"symbol": CALL, "side": SELL, "qty": 1, "time_in_force": GTC, "stop_price": 0.05}
    first = at.trading.submit_order(StopOrderRequest(**terms))
    assert first.type is OrderType.STOP
    at.trading.cancel_order_by_id(first.id)
    assert at.trading.submit_order(StopLimitOrderRequest(**terms, limit_price=0.05))


@refused("submit_order", "trailing_stop on an option", "422 42210000")
def _(at: Desk) -> None:
    request = TrailingStopOrderRequest(
        symbol=CALL, side=SELL, qty=1, time_in_force=DAY, trail_percent=5
    )
    at.refusal(42210000, lambda: at.trading.submit_order(request))


@refused("submit_order", "a client_order_id used before", "422 40010001")
def _(at: Desk) -> None:
    order = at.trading.submit_order(limit(client_order_id="once"))
    at.trading.cancel_order_by_id(order.id)
    error = at.refusal(
        40010001, lambda: at.trading.submit_order(limit(client_order_id="once")), status=422
    )
    assert error.message == "client_order_id must be unique"


@refused("submit_order", "a put without collateral, an uncovered call", "403 40310000")
def _(at: Desk) -> None:
    at.refusal(40310000, lambda: at.trading.submit_order(limit(PUT, SELL, price=1, qty=20)))
    at.refusal(40310000, lambda: at.trading.submit_order(limit(CALL, SELL, price=1, qty=4)))


@refused("submit_order", "selling short", "403 40310000: the accounts are cash accounts")
def _(at: Desk) -> None:
    at.refusal(40310000, lambda: at.trading.submit_order(market("MSFT", SELL)))


@refused("submit_order", "a possible wash trade", "403 40310000 with `existing_order_id`")
def _(at: Desk) -> None:
    at.trading.submit_order(limit("KO", SELL, price=90))
    error = at.refusal(40310000, lambda: at.trading.submit_order(market("KO")))
    assert "existing_order_id" in str(error)


@not_offered("submit_order", "multi-leg options (mleg)", "422: spreads need a margin model")
def _(at: Desk) -> None:
    legs = [
        OptionLegRequest(symbol=PUT, side=BUY, ratio_qty=1),
        OptionLegRequest(symbol=CALL, side=SELL, ratio_qty=1),
    ]
    request = MarketOrderRequest(qty=1, order_class=OrderClass.MLEG, time_in_force=DAY, legs=legs)
    assert "not offered" in at.refusal(42210000, lambda: at.trading.submit_order(request)).message


@not_offered("submit_order", "extended hours", "422: prices exist in regular sessions only")
def _(at: Desk) -> None:
    request = limit(time_in_force=DAY, extended_hours=True)
    assert "not offered" in at.refusal(42210000, lambda: at.trading.submit_order(request)).message


@not_offered("submit_order", "crypto", "422, as an unknown asset")
def _(at: Desk) -> None:
    at.refusal(42210000, lambda: at.trading.submit_order(market("BTC/USD", time_in_force=GTC)))


# --- orders ------------------------------------------------------------------------------------


@works("get_orders", "every filter", "bounds are exclusive")
def _(at: Desk) -> None:
    first = at.trading.submit_order(limit())
    at.step(minutes=1)
    second = at.trading.submit_order(limit("KO", SELL, price=90))

    def ids(**how: Any) -> list[Any]:
        return [order.id for order in at.trading.get_orders(GetOrdersRequest(**how))]

    assert ids() == [second.id, first.id]
    assert ids(direction="asc") == [first.id, second.id]
    assert ids(symbols=["KO"]) == ids(side=SELL) == [second.id]
    assert ids(after=first.created_at) == [second.id]
    assert ids(until=second.created_at) == [first.id]
    assert ids(limit=1) == [second.id]
    assert ids(status=QueryOrderStatus.CLOSED) == []
    assert ids(status=QueryOrderStatus.ALL, nested=True) == [second.id, first.id]


@works("get_order_by_id", "", "with nested legs")
def _(at: Desk) -> None:
    oto = market(order_class=OrderClass.OTO, stop_loss=StopLossRequest(stop_price=90))
    order = at.trading.submit_order(oto)
    found = at.trading.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))
    assert [leg.type for leg in found.legs] == [OrderType.STOP]
    at.refusal(40410000, lambda: at.trading.get_order_by_id(uuid4()))


@works("get_order_by_client_id")
def _(at: Desk) -> None:
    order = at.trading.submit_order(limit(client_order_id="mine"))
    assert at.trading.get_order_by_client_id("mine").id == order.id


@works("replace_order_by_id", "", "answers with a new id")
def _(at: Desk) -> None:
    old = at.trading.submit_order(limit())
    new = at.trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=2, limit_price=101))
    assert (new.replaces, new.qty, new.limit_price) == (old.id, "2", "101")
    assert at.trading.get_order_by_id(old.id).status is OrderStatus.REPLACED
    at.refusal(42210000, lambda: at.trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=3)))


@works("cancel_order_by_id", "", "a final order: 422")
def _(at: Desk) -> None:
    order = at.trading.submit_order(limit())
    at.trading.cancel_order_by_id(order.id)
    assert at.trading.get_order_by_id(order.id).status is OrderStatus.CANCELED
    at.refusal(42210000, lambda: at.trading.cancel_order_by_id(order.id))


@works("cancel_orders")
def _(at: Desk) -> None:
    orders = [at.trading.submit_order(limit()) for _ in range(3)]
    ended = at.trading.cancel_orders()
    assert all(isinstance(each, CancelOrderResponse) for each in ended)
    assert {each.id for each in ended} == {order.id for order in orders}
    assert at.trading.get_orders() == []


# --- positions ---------------------------------------------------------------------------------


@works("get_all_positions")
def _(at: Desk) -> None:
    held = at.trading.get_all_positions()
    assert all(isinstance(position, Position) for position in held)
    assert {position.symbol: position.qty for position in held} == {"AAPL": "300", "KO": "300"}


@works("get_open_position", "", "by symbol or asset id")
def _(at: Desk) -> None:
    position = at.trading.get_open_position("KO")
    assert at.trading.get_open_position(position.asset_id).symbol == "KO"
    at.refusal(40410000, lambda: at.trading.get_open_position("MSFT"))


@works("close_position", "all of it, qty, percentage")
def _(at: Desk) -> None:
    order = at.trading.close_position("KO", ClosePositionRequest(qty="100"))
    assert (order.qty, order.side) == ("100", SELL)
    at.step(minutes=1)
    assert at.trading.close_position("KO", ClosePositionRequest(percentage="50")).qty == "100"
    at.step(minutes=1)
    assert at.trading.close_position("KO").qty == "100"
    at.step(minutes=1)
    at.refusal(40410000, lambda: at.trading.close_position("KO"))


@works("close_all_positions", "", "207, an answer each")
def _(at: Desk) -> None:
    at.trading.submit_order(limit("KO", SELL, price=90))
    closed = at.trading.close_all_positions(cancel_orders=True)
    assert all(isinstance(each, ClosePositionResponse) for each in closed)
    assert {each.symbol: each.status for each in closed} == {"AAPL": 200, "KO": 200}
    at.step(minutes=1)
    assert at.trading.get_all_positions() == []


@works("exercise_options_position", "", "at once, with OPEXC and OPTRD the next day")
def _(at: Desk) -> None:
    filled(at, at.trading.submit_order(market(CALL)))
    at.trading.exercise_options_position(CALL)
    assert at.trading.get_open_position("AAPL").qty == "400"
    at.refusal(40310000, lambda: at.trading.exercise_options_position(CALL))
