"""What consumer groups lost is told from a few numbers of Redis, looked at now and then."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.alerts.groups import Group, GroupWatch, Look, Stream


@dataclass
class Model:
    """A stream whose entry n has the id (n, 0), and one group on it, with the numbers that Redis 7.0 gives.

    remembers: newer servers count anew what a group has read when it has skipped something; 7.0 only counts on.
    """

    remembers: bool = False
    added: int = 0
    trimmed: int = 0
    position: int = 0
    read: int | None = None
    lost: int = 0
    handed: set[int] = field(default_factory=set)

    def add(self, count: int) -> None:
        self.added += count

    def trim(self, count: int) -> None:
        upto = min(self.added, self.trimmed + count)
        self.lost += max(0, upto - max(self.trimmed, self.position))
        self.trimmed = upto

    def take(self, count: int) -> None:
        for _ in range(count):
            following = max(self.position, self.trimmed) + 1
            if following > self.added:
                return
            skipped = following != self.position + 1
            if self.read is not None and not (self.remembers and skipped):
                self.read += 1
            elif following in (self.trimmed + 1, self.added):  # the ends are what Redis can count
                self.read = following
            self.position = following

    def look(self) -> tuple[Stream, list[Group]]:
        length = self.added - self.trimmed
        stream = Stream(self.added, length, (self.trimmed + 1, 0) if length else None, (self.added, 0))
        return stream, [Group("g", (self.position, 0), self.read, 0)]


OPERATIONS = st.lists(st.tuples(st.sampled_from(["add", "trim", "take"]), st.integers(1, 12)), max_size=40)


@given(OPERATIONS, st.booleans())
def test_what_a_group_lost_is_counted_exactly_when_every_step_is_seen(operations: list[tuple[str, int]], began_at_the_end: bool) -> None:
    model, watch = Model(), GroupWatch()
    model.add(1)
    if began_at_the_end:
        model.position = 1
    else:
        model.take(1)
    watch.look(*model.look())
    total = 0
    for operation, count in operations:
        getattr(model, operation)(count)
        look = watch.look(*model.look())["g"]
        total += look.lost
        assert total == model.lost
        assert look.unread == model.added - max(model.position, model.trimmed)


@given(OPERATIONS)
def test_on_newer_servers_it_is_exact_once_a_group_has_caught_up_after_a_loss(operations: list[tuple[str, int]]) -> None:
    model, watch = Model(remembers=True), GroupWatch()
    model.add(10)
    model.take(1)
    watch.look(*model.look())
    model.trim(5)
    assert watch.look(*model.look())["g"].lost == model.lost == 4
    model.take(2)
    watch.look(*model.look())
    model.take(3)
    watch.look(*model.look())
    total = model.lost
    for operation, count in operations:
        getattr(model, operation)(count)
        look = watch.look(*model.look())["g"]
        total += look.lost
        assert total == model.lost
        assert look.unread == model.added - max(model.position, model.trimmed)


@given(OPERATIONS, st.booleans(), st.sets(st.integers(0, 39)), st.booleans())
def test_nothing_is_counted_that_was_not_lost(
    operations: list[tuple[str, int]], remembers: bool, looks: set[int], began_at_the_end: bool
) -> None:
    model, watch = Model(remembers), GroupWatch()
    model.add(5)
    if began_at_the_end:
        model.position = 5
    else:
        model.take(1)
    watch.look(*model.look())
    total = 0
    for n, (operation, count) in enumerate(operations):
        getattr(model, operation)(count)
        if n in looks:
            total += watch.look(*model.look())["g"].lost
    assert total <= model.lost


def test_a_group_that_began_at_the_end_and_never_read_loses_what_is_trimmed() -> None:
    model, watch = Model(added=10, position=10), GroupWatch()
    assert watch.look(*model.look()) == {"g": Look(0, 0, 0)}
    model.add(20)
    assert watch.look(*model.look())["g"] == Look(20, 0, 0)
    model.trim(25)
    assert watch.look(*model.look())["g"] == Look(5, 0, 15)
    assert watch.look(*model.look())["g"] == Look(5, 0, 0), "each is counted once"


@pytest.mark.parametrize("read", [3, None], ids=["redis-counts", "redis-has-lost-count"])
def test_what_was_lost_before_the_first_look_is_not_counted(read: int | None) -> None:
    model, watch = Model(added=20, trimmed=10, position=3, read=read), GroupWatch()
    assert watch.look(*model.look())["g"].lost == 0
    model.trim(2)
    assert watch.look(*model.look())["g"].lost == 2


def test_a_group_that_is_gone_and_made_again_begins_anew() -> None:
    model, watch = Model(added=20, position=3, read=3), GroupWatch()
    watch.look(*model.look())
    watch.look(model.look()[0], [])
    model.trim(10)
    assert watch.look(*model.look())["g"].lost == 0


def test_a_stream_that_redis_lost_begins_anew() -> None:
    watch = GroupWatch()
    watch.look(*Model(added=100, trimmed=10, position=50, read=50).look())
    model = Model(added=20, position=0)
    assert watch.look(*model.look())["g"] == Look(20, 0, 0)
    model.trim(5)
    assert watch.look(*model.look())["g"] == Look(15, 0, 5)


def test_an_empty_stream_has_nothing_to_lose() -> None:
    assert GroupWatch().look(Stream(0, 0, None, (0, 0)), [Group("g", (0, 0), None, 0)]) == {"g": Look(0, 0, 0)}
