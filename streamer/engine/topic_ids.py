"""Kafka's ids of topics: a topic that was deleted and created again has its old name and another id.

aiokafka asks for metadata in version 5; ids came with version 10 (KIP-516). The schemas are Kafka's MetadataRequest.json and
MetadataResponse.json at that version.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaConnectionError, UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import AbstractType, Array, Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

from streamer.errors import TopicsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BytesIO

    from aiokafka.client import AIOKafkaClient


class _Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]  # aiokafka is untyped here
    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


_TEXT = CompactString("utf-8")
_PARTITION: Array = CompactArray(
    ("error_code", Int16),
    ("partition_index", Int32),
    ("leader_id", Int32),
    ("leader_epoch", Int32),
    ("replica_nodes", CompactArray(Int32)),
    ("isr_nodes", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    ("tags", TaggedFields),
)


class MetadataResponseV10(Response):  # type: ignore[misc]  # aiokafka is untyped here
    """Brokers and topics, with the topics' ids."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), ("tags", TaggedFields))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", _TEXT),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                ("partitions", _PARTITION),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class MetadataRequestV10(RequestStruct):  # type: ignore[misc]  # aiokafka is untyped here
    """Asks for topics by name."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = MetadataResponseV10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", _TEXT), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicIdsRequest(Request[MetadataRequestV10]):  # type: ignore[misc]  # aiokafka is untyped here
    """Asks for the ids of topics; creates none."""

    API_KEY = 3

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = list(topics)

    def build(self, request_struct_class: type[MetadataRequestV10]) -> MetadataRequestV10:
        """The request at the version agreed with the broker."""
        return request_struct_class([(uuid.UUID(int=0), name, {}) for name in self._topics], False, False, False, {})


async def topic_ids(client: AIOKafkaClient, topics: Iterable[str]) -> dict[str, str]:
    """Name -> Kafka's id of each topic, as 32 hex digits.

    Raises:
        TopicsError: a topic does not exist.
        KafkaError: no broker answers.
    """
    node = client.get_random_node()
    if node is None or not await client.ready(node):
        raise KafkaConnectionError("no broker can be reached")
    response: Any = await client.send(node, TopicIdsRequest(topics))
    found = {}
    for error_code, name, topic_id, *_ in response.topics:
        error = for_code(error_code)
        if error is UnknownTopicOrPartitionError:
            raise TopicsError(f"topic {name} does not exist: `streamer topics create` makes it")
        if error_code:
            raise error(name)
        found[name] = topic_id.hex
    return found
