"""Decisions as messages. Ids are pure functions of the intent's, so a decision published twice
is one message to the bus and one row to the tables.
"""

from __future__ import annotations

import datetime as dt

from libs.common.contracts import IntentApproved, IntentBlocked, OrderIntended
from libs.common.risk_config import risk_config_version
from libs.common.settings import RiskSettings
from libs.common.signing import sign
from services.risk.state import Decision


def decision_message(
    intent: OrderIntended, decision: Decision, settings: RiskSettings, *, nonce: str
) -> IntentApproved | IntentBlocked:
    """The signed approval, or the block; `nonce` is the caller's to draw.

    Raises ValueError for a missing or bad signing key.
    """
    if not decision.ok:
        return blocked(intent, decision)
    return approved(intent, decision, settings, nonce=nonce)


def blocked(intent: OrderIntended, decision: Decision) -> IntentBlocked:
    return IntentBlocked(
        message_id=f"no-{intent.message_id}",
        at=decision.at,
        tick_id=intent.tick_id,
        intent=intent,
        checks=decision.checks,
        reason=decision.reason,
    )


def approved(
    intent: OrderIntended, decision: Decision, settings: RiskSettings, *, nonce: str
) -> IntentApproved:
    """The approval, signed with the settings' key, void `approval_ttl_seconds` after `at`."""
    if settings.signing_key is None:
        raise ValueError("risk has no signing key")
    unsigned = IntentApproved(
        message_id=f"ok-{intent.message_id}",
        at=decision.at,
        tick_id=intent.tick_id,
        intent=intent,
        checks=decision.checks,
        account_number=decision.account_number,
        alpaca_env=decision.alpaca_env,
        collateral=decision.collateral,
        expires_at=decision.at + dt.timedelta(seconds=settings.approval_ttl_seconds),
        signature="",
        session=decision.session,
        risk_config_version=risk_config_version(settings),
        nonce=nonce,
        seen_price=decision.seen_price,
    )
    return sign(settings.signing_key, unsigned)
