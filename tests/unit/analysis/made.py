"""Histories that are made, whose answers are known."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from streamer.analysis.history import Log, opened
from streamer.definitions import default
from streamer.replay.history import History, read_history

if TYPE_CHECKING:
    from typing import Literal

BEGIN_MS = 1_704_067_200_000  # 2024-01-01
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


class Maker:
    """Collects events; `at` is days after the beginning."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, customer: str, at: float, type_: str, **fields: Any) -> None:
        time = datetime.fromtimestamp((BEGIN_MS + round(at * DAY)) / 1000, UTC).isoformat(timespec="milliseconds")
        event = {"id": str(len(self.events)), "source": "/made", "type": type_, "time": time, "channel": "web", "customer_id": customer}
        self.events.append(event | fields)

    def order(self, customer: str, at: float, amount: float, *, currency: str = "EUR", **more: Any) -> None:
        self.add(customer, at, "order.completed", commerce={"revenue": f"{amount:.2f}", "currency": currency, **more})

    def answer(self, customer: str, at: float, score: float, **more: Any) -> None:
        self.add(customer, at, "survey.responded", survey={"instrument": "nps", "score": score, **more})

    def write(self, path: Path) -> Path:
        path.write_text("\n".join(json.dumps(event) for event in self.events))
        return path

    def opened(self, path: Path, until: Literal["touchpoints", "journeys"] = "touchpoints") -> tuple[History, Log]:
        history = read_history(self.write(path))
        return history, opened(history, default(), until)


class _Person(NamedTuple):
    """effort: how many transfers and repeated contacts a customer is likely to meet; from 0 to 1."""

    key: str
    effort: float


def world(seed: int, customers: int = 700) -> Maker:
    """Customers over 500 days: effort lowers scores and spend, a failing payment step loses checkouts, one initiative helps."""
    random, made = Random(seed), Maker()
    for number in range(customers):
        person = _Person(f"c-{number:04}", random.random() ** 1.5)
        _care(made, random, person)
        _spend(made, random, person)
        _checkouts(made, random, person)
    made.add("c-0000", 500, "page.viewed")
    made.events.sort(key=lambda event: event["time"])
    return made


def _care(made: Maker, random: Random, person: _Person) -> None:
    for visit in range(1 + random.randrange(3)):
        at = 30 + 120 * visit + random.random() * 40
        issue = {"issue": {"issue_id": f"{person.key}-{visit}", "reason": random.choice(["billing", "delivery"])}}
        made.add(person.key, at, "contact.started", **issue)
        transfers = sum(random.random() < person.effort for _ in range(3))
        for step in range(transfers):
            kind = {"kind": random.choice(["cold", "warm"])}
            made.add(person.key, at + 0.01 * (step + 1), "contact.transferred", handoff=kind, **issue)
        made.add(person.key, at + 0.1, "contact.ended", **issue)
        repeats = sum(random.random() < person.effort for _ in range(2))
        for again in range(repeats):
            channel = random.choice(["web", "phone"])
            made.add(person.key, at + 1 + again, "contact.started", channel=channel, **issue)
            made.add(person.key, at + 1.2 + again, "contact.ended", **issue)
        score = 9.6 - 1.3 * transfers - 1.1 * repeats + random.gauss(0, 1.6)
        made.answer(person.key, at + 5, min(10, max(0, round(score))))


def _spend(made: Maker, random: Random, person: _Person) -> None:
    treated = random.random() < 0.5
    helped = random.random() < 0.3
    if helped:
        arm = "treated" if treated else "control"
        made.add(person.key, 300, "initiative.started", initiative={"initiative_id": "welcome-call", "arm": arm, "cost": "4.00"})
    for month in range(16):
        amount = 60 - 38 * person.effort + random.gauss(0, 14) - (1.8 * month if person.effort > 0.6 else -0.5 * month)
        if helped and treated and month >= 10:
            amount += 9
        if amount > 3 and random.random() < 0.85:
            made.order(person.key, 3 + 30.4 * month + random.random() * 20, amount)


def _checkouts(made: Maker, random: Random, person: _Person) -> None:
    for visit in range(3):
        at, checkout = 10 + 140 * visit + random.random() * 100, {"checkout_id": f"{person.key}-k{visit}"}
        made.add(person.key, at, "checkout.started", commerce=checkout, step="cart")
        stays = True
        for n, (step, trouble, cost) in enumerate((("address", 0.25, 0.06), ("delivery", 0.2, 0.0), ("payment", 0.22, 0.45))):
            made.add(person.key, at + 0.002 * (n + 1), "checkout.step_viewed", commerce=checkout, step=step)
            if random.random() < trouble:
                kind = "payment.failed" if step == "payment" else "form.error"
                made.add(person.key, at + 0.002 * (n + 1) + 0.001, kind, commerce=checkout)
                stays = stays and random.random() > cost
            stays = stays and random.random() > 0.05
            if not stays:
                break
        if stays:
            made.add(person.key, at + 0.01, "order.completed", commerce=checkout)
