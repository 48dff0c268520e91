"""What every simulated customer's episode is made with: chance, names, incidents, and the way into the stream."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from zlib import crc32

from streamer.alerts.times import rfc3339
from streamer.simulate.waiting import SLOT_BITS, Waiting
from streamer.simulate.wire import Sent, head_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.simulate.incidents import Incident
    from streamer.simulate.people import Person
    from streamer.simulate.scenario import Scenario

T = TypeVar("T")

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE

LATE_SHARE, DISORDER_SHARE, DUPLICATE_SHARE = 0.002, 0.40, 0.002  # of events
SOURCES: Final = {
    "web": "/shop/web", "app": "/shop/app", "store": "/shop/tills", "phone": "/care/phone", "ivr": "/care/ivr", "chat": "/care/chat",
    "bot": "/care/chat", "email": "/care/mail", "social": "/care/social", "other": "/care/cases", "field": "/care/field",
    "partner": "/logistics/carrier", "sms": "/notify/sms", "mail": "/notify/letters",
}  # fmt: skip
# The longest delay of what is sent at once, and of what is disordered, spread over their shares of chance.
_SOON_MS: Final = 250 / (1 - DISORDER_SHARE)
_DISORDER_MS: Final = 5_000 / DISORDER_SHARE
_HEADS: Final = {channel: head_of(source) for channel, source in SOURCES.items()}
# A NamedTuple without the detour that its constructor is; one for every event.
_new: Final = tuple.__new__


class Origin(NamedTuple):
    """What the events of a customer on a channel have in common. head: of their envelopes. data: the beginning of `data` as JSON text."""

    key: bytes
    head: str
    data: str


class Life:
    """One scenario's chance and stream. tally: what was made. number: the last one given to a record or a name.

    troubled: whether there are incidents at all.
    """

    def __init__(self, scenario: Scenario) -> None:
        chance = Random()
        self.draw = chance.random
        self._seed = super(Random, chance).seed  # an integer needs nothing of what Random.seed does besides, and every episode has one
        self.waiting = Waiting(scenario.start_ms)
        self._far = self.waiting.far
        # Of another seed or start there are other names: the second of two runs into one topic is no repetition of the first.
        self._run = f"{crc32(f'{scenario.seed} {scenario.start_ms}'.encode()):08x}"
        self.number = 0
        self._episode = ""
        self._base = 0
        self.end_ms = math.inf if scenario.end_ms is None else scenario.end_ms
        self.tally: Counter[str] = Counter()
        self.troubled = bool(scenario.incidents)
        self._incidents: defaultdict[str, list[Incident]] = defaultdict(list)
        for incident in scenario.incidents:
            self._incidents[incident.kind].append(incident)

    def begin(self, episode: int, seed: int) -> None:
        """An episode has chance and names of its own: what goes wrong in one changes nothing in the others, and runs can be compared."""
        self._seed(seed)
        self._episode, self._base = f"{self._run}{episode:07x}", self.number

    def exponential(self, mean: float) -> float:
        """An exponentially distributed number."""
        return -math.log(1.0 - self.draw()) * mean

    def pick(self, options: tuple[T, ...]) -> T:
        """One of the options, each as likely as the others."""
        return options[int(self.draw() * len(options))]

    def name(self, prefix: str) -> str:
        """An identifier that nothing else has, nor a run of another seed or start."""
        self.number = number = self.number + 1
        return f"{prefix}-{self._episode}-{number - self._base}"

    def struck(self, kind: str, time_ms: float, where: Mapping[str, str]) -> bool:
        """Whether an incident of the kind is going on there and then."""
        return self.troubled and any(incident.strikes(time_ms, where) for incident in self._incidents.get(kind, ()))

    def origin(self, person: Person, channel: str, stage: str, more: str = "") -> Origin:
        """Where a customer's events come from; `more` of `data` begins with a comma."""
        data = f'{person.identity},"channel":"{channel}"{more}{person.traits},"stage":"{stage}"'
        return _new(Origin, (person.key, _HEADS[channel] + self._episode + "-", data))

    def emit(self, origin: Origin, kind: str, time_ms: int, what: str = "") -> None:
        """Put one event into the stream, with the delays, disorder and repetitions of real producers."""
        chance = self.draw()
        if chance > DISORDER_SHARE:
            sent_ms = time_ms + int((chance - DISORDER_SHARE) * _SOON_MS)
        elif chance > LATE_SHARE:
            sent_ms = time_ms + int(chance * _DISORDER_MS)
        else:  # an app that was offline
            sent_ms = time_ms + int(5_000 + self.exponential(4 * MINUTE))
            self.tally["delayed"] += 1
        if sent_ms >= self.end_ms:
            return
        key, head, data = origin
        self.number = number = self.number + 1
        value = f'{head}{number - self._base}","type":"{kind}","time":"{rfc3339(time_ms)}","data":{{{data}{what}}}}}'.encode()
        if sent_ms < self.waiting.near_ms:
            self.waiting.push(_new(Sent, (sent_ms, number, key, value)))
        else:  # as `push` does; nearly all come here, and the call would cost
            self._far[sent_ms >> SLOT_BITS].append(_new(Sent, (sent_ms, number, key, value)))
        self.tally[kind] += 1
        if chance > 1 - DUPLICATE_SHARE:
            again_ms = int(sent_ms + self.draw() * MINUTE)
            if again_ms < self.end_ms:
                self.number = number = number + 1
                self.waiting.push(Sent(again_ms, number, key, value))
                self.tally["duplicates"] += 1
