"""The one-shot step that makes streams and consumers: CORE's only user, and nobody else, may."""

from __future__ import annotations

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext, api

from libs.common.bus import Bus
from libs.common.bus_accounts import PROVISION, stream_of
from libs.common.contracts import TradingStateSet
from libs.common.settings import BusSettings
from libs.common.topology import (
    CONSUMERS,
    DUPLICATE_WINDOW_SECONDS,
    FEED_PREFIX,
    STREAMS,
    Consumer,
    Stream,
)
from libs.common.trading_state import beginning


async def provision(settings: BusSettings, *, patience_seconds: float = 15.0) -> list[str]:
    """Makes or updates every stream and consumer. Running it again changes nothing.

    Returns the names of what was made. Raises BusError.
    """
    bus = await Bus.connect(settings, account=PROVISION, patience_seconds=patience_seconds)
    try:
        made = await _make(bus.jetstream)
        if stream_of(TradingStateSet) in made:
            await bus.publish(beginning("provision"))
        return made
    except (nats.errors.Error, TimeoutError, OSError) as error:
        raise bus.failure(f"provisioning failed: {error}") from error
    finally:
        await bus.close()


async def _make(js: JetStreamContext) -> list[str]:
    made: list[str] = []
    existing = {info.config.name for info in await js.streams_info()}
    for stream in STREAMS:
        config = stream_config(stream)
        if stream.name in existing:
            await js.update_stream(config)
        else:
            await js.add_stream(config)
            made.append(stream.name)
    for consumer in CONSUMERS:
        try:
            await js.consumer_info(consumer.stream, consumer.name)
        except nats.js.errors.NotFoundError:
            made.append(f"{consumer.stream}/{consumer.name}")
        await js.add_consumer(consumer.stream, consumer_config(consumer))
    return made


def stream_config(stream: Stream) -> api.StreamConfig:
    return api.StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.OLD,
        max_age=stream.max_age_seconds,
        max_bytes=stream.max_bytes,
        max_msg_size=stream.message_bytes_max,
        max_msgs_per_subject=stream.max_per_subject,
        duplicate_window=min(DUPLICATE_WINDOW_SECONDS, stream.max_age_seconds),
        deny_delete=stream.protected,
        deny_purge=stream.protected,
        allow_direct=True,
        republish=api.RePublish(src=">", dest=f"{FEED_PREFIX}.>") if stream.republished else None,
    )


def consumer_config(consumer: Consumer) -> api.ConsumerConfig:
    acknowledged = consumer.acknowledged
    return api.ConsumerConfig(
        durable_name=consumer.name,
        deliver_policy=(
            api.DeliverPolicy.LAST_PER_SUBJECT if consumer.latest_only else api.DeliverPolicy.ALL
        ),
        filter_subjects=list(consumer.filters) or None,
        ack_policy=api.AckPolicy.EXPLICIT if acknowledged else api.AckPolicy.NONE,
        ack_wait=consumer.ack_wait_seconds if acknowledged else None,
        max_deliver=consumer.max_deliver if acknowledged else None,
        max_ack_pending=consumer.max_ack_pending if acknowledged else None,
    )
