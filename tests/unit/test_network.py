from __future__ import annotations

import logging
import ssl

import pytest

from streamer.network import client_context, speaks_plain, speaks_tls


@pytest.mark.parametrize(("reason", "logged"), [("APPLICATION_DATA_AFTER_CLOSE_NOTIFY", 0), ("CERTIFICATE_VERIFY_FAILED", 1)])
def test_an_answer_behind_our_farewell_is_no_error_and_others_are(reason: str, logged: int, caplog: pytest.LogCaptureFixture) -> None:
    client_context(None, "kafka_ca_file")
    error = ssl.SSLError(1, "said by the library")
    error.reason = reason
    logging.getLogger("asyncio").error("Future exception was never retrieved", exc_info=error)
    assert len(caplog.records) == logged


async def test_a_server_that_is_not_there_speaks_neither() -> None:
    assert not await speaks_tls("127.0.0.1", 1)
    assert not await speaks_plain("127.0.0.1", 1, b"PING\r\n")
