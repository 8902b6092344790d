"""What to do with an approval, and what an answer of the broker means. Pure.

After a timeout, a reset or a 5xx the order is `unknown`: it is looked up by its client_order_id.
Not found does not mean it never arrived (the request may still be under way), so a settle time
passes before the same id is sent again, and only while the approval is valid. Then the broker's
own uniqueness is the last guard: "must be unique" means it had arrived.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import StrEnum

import msgspec

from libs.common.broker import BrokerError, BrokerRefusedError
from libs.common.broker_clock import APART_MAX
from libs.common.contracts import AlpacaEnv, IntentApproved
from libs.common.settings import ExecutorSettings
from libs.common.signing import verify
from libs.common.symbols import SHARES_PER_CONTRACT, parse_option_symbol
from libs.common.wire import WireOrder
from services.executor.lifecycle import OrderState, state_of
from services.executor.orders import OrderChange, OrderRow

COLLAR_DOLLARS_MIN = Decimal("0.10")
"""A collar in percent of a few cents would hold back every cheap option."""


class Refusal(msgspec.Struct, frozen=True):
    """Why an approval is not carried out."""

    state: OrderState
    reason: str
    usual: bool = False
    """Nothing is wrong: nobody needs to be called."""


def refusal_of_approval(
    approval: IntentApproved,
    *,
    verify_key: str,
    account_number: str | None,
    alpaca_env: AlpacaEnv,
    now: dt.datetime,
    is_signed: Callable[[str, IntentApproved], bool] = verify,
) -> Refusal | None:
    """None when the approval may be sent now. `account_number` None: not known, as in dry mode."""
    if not is_signed(verify_key, approval):
        return Refusal(OrderState.ERROR, "the approval's signature is not risk's")
    if approval.alpaca_env is not alpaca_env:
        return Refusal(OrderState.ERROR, f"the approval is for {approval.alpaca_env.value}")
    if account_number is not None and approval.account_number != account_number:
        return Refusal(OrderState.ERROR, "the approval is for another account")
    if approval.at > now + APART_MAX:
        ahead = (approval.at - now).total_seconds()
        reason = f"the approval is from {ahead:.1f} s ahead: risk's clock and ours differ, set them"
        return Refusal(OrderState.EXPIRED, reason)
    if now >= approval.expires_at:
        return Refusal(OrderState.EXPIRED, "the approval expired before it could be sent")
    return None


def refusal_of_order(
    approval: IntentApproved, settings: ExecutorSettings, versions: AbstractSet[str]
) -> Refusal | None:
    """None when the order keeps to the executor's own caps, whatever risk approved. Held against
    the price risk saw: an order that nothing can be held against is not sent. `versions` are the
    versions of risk's limits that are known here.
    """
    if approval.risk_config_version not in versions:
        version = approval.risk_config_version or "of no version"
        return Refusal(OrderState.ERROR, f"not sent: risk's limits {version} are not known here")
    fault = _size_fault(approval, settings) or _price_fault(approval, settings)
    return Refusal(OrderState.ERROR, f"not sent: {fault}") if fault else None


def _size_fault(approval: IntentApproved, settings: ExecutorSettings) -> str:
    intent, seen = approval.intent, approval.seen_price
    option = parse_option_symbol(intent.symbol)
    most = settings.max_shares if option is None else settings.max_contracts
    if not 1 <= intent.qty <= most:
        return f"quantity {intent.qty} is beyond the cap of {most}"
    if seen is None or not seen.is_finite() or seen < 0:
        return "risk saw no price to hold it against"
    each = seen if option is None else option.strike * SHARES_PER_CONTRACT
    if each * intent.qty > settings.max_notional:
        return f"worth {each * intent.qty:f}, beyond the cap of {settings.max_notional:f}"
    return ""


def _price_fault(approval: IntentApproved, settings: ExecutorSettings) -> str:
    limit, seen = approval.intent.limit_price, approval.seen_price or Decimal(0)
    if limit is None:
        is_stock = parse_option_symbol(approval.intent.symbol) is None
        return "" if is_stock else "an option order without a limit"
    width = max(seen * Decimal(repr(settings.price_collar_pct)) / 100, COLLAR_DOLLARS_MIN)
    if not limit.is_finite() or abs(limit - seen) > width:
        return f"limit {limit} is too far from {seen}, the price risk saw"
    return ""


class Verdict(StrEnum):
    """What a failed submit means."""

    REJECTED = "rejected"
    EXISTS = "exists"
    NOT_NOW = "not_now"
    UNKNOWN = "unknown"


def verdict_of(error: BrokerError | ValueError) -> Verdict:
    """A refusal is certain (4xx) or leaves doubt (5xx, no answer, an answer that is no order)."""
    if not isinstance(error, BrokerRefusedError) or not error.certain:
        return Verdict.UNKNOWN
    about_the_id = "client_order_id" in error.message or "must be unique" in error.message
    if error.status == 409 or (error.status == 422 and about_the_id):
        return Verdict.EXISTS
    if error.status in (408, 425, 429):
        return Verdict.NOT_NOW if error.status == 429 else Verdict.UNKNOWN
    return Verdict.REJECTED


class Step(StrEnum):
    """What to do next about an order in doubt that the broker does not show."""

    WAIT = "wait"
    SEND_AGAIN = "send_again"
    GIVE_UP = "give_up"


def step_when_not_found(row: OrderRow, now: dt.datetime, settle_seconds: float) -> Step:
    if row.broker_status is not None:  # the broker said that it has an order of this id
        return Step.WAIT
    doubt_since = row.doubt_since or row.approval.expires_at
    if now < doubt_since + dt.timedelta(seconds=settle_seconds):
        return Step.WAIT
    if now < row.approval.expires_at:
        return Step.SEND_AGAIN
    return Step.GIVE_UP


def change_from(order: WireOrder, now: dt.datetime) -> OrderChange:
    """The row's change that the broker's order calls for."""
    changed_at = order.changed_at
    return OrderChange(
        state=state_of(order.status, order.filled_qty),
        ts=changed_at or now,
        broker_status=order.status,
        order_id=order.id,
        filled_qty=order.filled_qty or Decimal(0),
        filled_avg_price=order.filled_avg_price,
        changed_at=changed_at,
    )


def is_news(row: OrderRow, order: WireOrder) -> bool:
    """Whether the broker's order says anything the row does not."""
    return (
        order.status != row.broker_status
        or (order.filled_qty or Decimal(0)) != row.filled_qty
        or (order.filled_avg_price or row.filled_avg_price) != row.filled_avg_price
        or order.id != row.order_id
    )


def mismatch(row: OrderRow, order: WireOrder) -> str | None:
    """How an order found under our id differs from what was approved, or None."""
    intent = row.approval.intent
    if order.symbol != intent.symbol:
        return f"the broker's order is for {order.symbol}, approved was {intent.symbol}"
    if order.side != intent.side.value:
        return f"the broker's order is to {order.side}, approved was {intent.side.value}"
    if order.qty != intent.qty and not _is_the_rest(order, row):
        return f"the broker's order is over {order.qty}, approved was {intent.qty}"
    if order.limit_price != intent.limit_price:
        return f"the broker's limit is {order.limit_price}, approved was {intent.limit_price}"
    if order.trail_percent != intent.trail_percent:
        return f"the broker's trail is {order.trail_percent}, approved was {intent.trail_percent}"
    return None


def _is_the_rest(order: WireOrder, row: OrderRow) -> bool:
    """An order in another's place is over what that one had not filled in the last moment."""
    intent = row.approval.intent
    return intent.replaces is not None and order.qty is not None and 0 < order.qty < intent.qty
