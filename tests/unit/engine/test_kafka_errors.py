from __future__ import annotations

import pytest
from aiokafka import errors

from streamer.engine.kafka import explain
from streamer.errors import UnreachableError
from streamer.settings import Settings

# Nothing listens on this port: it is reserved, and only root could.
NOWHERE = "127.0.0.1:1"


async def test_a_broker_that_answers_too_late_does_not_answer() -> None:
    told = await explain(errors.KafkaTimeoutError(), Settings(kafka_bootstrap=NOWHERE))
    assert isinstance(told, UnreachableError)
    assert str(told) == f"Kafka at {NOWHERE} does not answer (KafkaTimeoutError): start it or set kafka_bootstrap"


@pytest.mark.parametrize(
    ("error", "access"),
    [
        (errors.SaslAuthenticationFailed("no"), True),
        (errors.MessageSizeTooLargeError("large"), False),
        (errors.OffsetMetadataTooLargeError("large"), False),
        (errors.InvalidReplicationFactorError("3"), False),
    ],
)
async def test_who_may_what_is_to_be_looked_at_only_if_the_refusal_is_about_it(error: errors.KafkaError, access: bool) -> None:
    told = str(await explain(error, Settings(kafka_bootstrap=NOWHERE)))
    assert told.startswith(f"Kafka at {NOWHERE} refused ({error}): ")
    assert ("ACL" in told) is access
