"""What is in the changelog of a customer, and of the moment rows are of."""

from __future__ import annotations

from typing import Final

import msgspec

# 2: retained events are arrays in place of maps. 3: a state has what chapters keep, a retained event its details. 4: firings that wait.
# 5: a retained event its account, what chapters keep the events that are evidence. 6: bytes are events kept as
# evidence, cells, and what each chapter keeps. 7: resolutions are remembered by an issue's id, too. 8: an instance has the effort that
# chapters have found. 9: a late completion has when it happened in place of a mark, and a case
# may have its changes of owner as evidence. 10: a state has since when its consent is as it is, what was told its
# severity. 11: an issue has the contacts that are about it.
ROW_SCHEMA: Final = 11


class Emitted(msgspec.Struct, array_like=True):
    """What consumers were told of one episode: how many transitions, whether it is in force, and the numbers told last.

    taken_back: it was retracted. muted: nobody was told after all, because the rule was a draft when it fired. newest: the greatest number
    of any episode told under the same key; highest: the most transitions of any. severity: the rule's when it fired; "": an older row does
    not say.
    """

    n: int
    transitions: int
    in_force: bool
    signals: dict[str, float | int | bool | str]
    newest: int = 0
    highest: int = 0
    taken_back: bool = False
    muted: bool = False
    severity: str = ""


class Row(msgspec.Struct, array_like=True):
    """A customer in the changelog. `due` and `quiet_at` come first: a restore reads only these two.

    marks: not used any more.
    as_of: every event with a smaller offset is in it; clock: of the partition then. 0: it is of the marker's moment.
    """

    schema: int
    due: int
    quiet_at: int
    born: int
    revision: int
    base_time: int
    last_time: int
    base: bytes
    suffix: bytes
    marks: bytes
    count: int
    emitted: dict[str, Emitted]
    edge: list[str] = []
    as_of: int = 0
    clock: int = 0


class RowHead(msgspec.Struct, array_like=True):
    """The beginning of a row."""

    schema: int
    due: int
    quiet_at: int


class RowOrigin(RowHead, array_like=True):
    """A little more of it: which definitions it is of."""

    born: int
    revision: int


class Boundary(msgspec.Struct, frozen=True):
    """A source offset and the partition's time there, with the fields of `marker.Marker`."""

    offset: int
    high: int
    arrival: int
    start: int
    base: int
    clock: int


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Row).decode
decode_head = msgspec.msgpack.Decoder(RowHead).decode
decode_origin = msgspec.msgpack.Decoder(RowOrigin).decode
