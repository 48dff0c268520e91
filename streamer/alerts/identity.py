"""Who an alert is: fingerprint = rule and slice or entity; episode_id = the n-th firing of a fingerprint; alert_id = the n-th transition
of an episode. All are hashes of what they name, hence the same from live stream, replay and crash recovery.
"""

from __future__ import annotations

import hashlib


def short_hash(*parts: str | int) -> str:
    """16 hex digits (64 bits: at 10^6 live episodes the chance of a collision is 3e-8)."""
    return hashlib.blake2b("\x00".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def fingerprint_of(rule_id: str, *entity_or_slice: str) -> str:
    """Identity of what an alert is about: the rule and the entity or slice."""
    return short_hash("fingerprint", rule_id, *entity_or_slice)


def episode_id_of(fingerprint: str, firing: int) -> str:
    """Identity of the n-th firing (from 1) of a fingerprint."""
    return short_hash("episode", fingerprint, firing)


def alert_id_of(episode_id: str, transition: int) -> str:
    """Identity of the n-th transition (from 1) of an episode."""
    return short_hash("alert", episode_id, transition)
