"""What decided a rule, and what would have turned it over."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import DefinitionsError
from streamer.rules.explain import Condition, Explainer
from streamer.rules.language import ENTITY_NAMES

NAMES = frozenset({"a", "b", "x", "flag", "word"})
JOURNEY = Explainer("journey == 'checkout' and abandoned and friction >= 1", ENTITY_NAMES["journey"])


def explained(text: str, **env: Any) -> str:
    return Explainer(text, NAMES).counterfactual(env)


def test_each_condition_comes_with_its_value_threshold_and_distance() -> None:
    assert JOURNEY.conditions({"journey": "checkout", "abandoned": False, "friction": 3}) == [
        Condition("journey == 'checkout'", holds=True, value="checkout", threshold="checkout", distance=None),
        Condition("abandoned", holds=False, value=False, threshold=None, distance=None),
        Condition("friction >= 1", holds=True, value=3, threshold=1, distance=2),
    ]


def test_a_negation_is_worked_into_the_conditions() -> None:
    found = Explainer("not (a >= 3 or flag) and not not b < 2", NAMES).conditions({"a": 3, "flag": False, "b": 1})
    assert [(condition.text, condition.holds) for condition in found] == [("a < 3", False), ("not flag", True), ("b < 2", True)]


def test_the_side_with_the_names_comes_first_and_a_chain_is_two_conditions() -> None:
    found = Explainer("2 < a <= b + 1", NAMES).conditions({"a": 2, "b": 4})
    assert [(c.text, c.holds, c.value, c.threshold, c.distance) for c in found] == [
        ("a > 2", False, 2, 2, 0),
        ("a <= b + 1", True, 2, 5, 3),
    ]


def test_a_condition_without_a_value_does_not_hold_also_when_it_is_negated() -> None:
    for text in ("a / b > 1", "not a / b > 1", "word > 1", "a > 1"):
        explainer = Explainer(text, NAMES)
        env: dict[str, Any] = {"a": 1, "b": 0, "word": "x"} if text != "a > 1" else {}
        assert not explainer.holds(env)
        assert [condition.holds for condition in explainer.conditions(env)] == [False]


@pytest.mark.parametrize(
    ("text", "env", "sentence"),
    [
        ("a >= 2", {"a": 3}, "It would not have fired with `a` at 1 or less (it was 3)."),
        ("a >= 1", {"a": 3}, "It would not have fired with `a` at 0 (it was 3)."),
        ("a >= 2", {"a": 0}, "It would have fired with `a` at 2 or more (it was 0)."),
        ("x > 0.5", {"x": 0.62}, "It would not have fired with `x` at 0.5 or less (it was 0.62)."),
        ("x > 0.5", {"x": 0.32}, "It would have fired with `x` above 0.5 (it was 0.32)."),
        ("x > 0.5", {"x": 0.5}, "It would have fired with `x` above 0.5 (it was 0.5)."),
        ("x < 0.12345", {"x": 0.123451}, "It would have fired with `x` below 0.12345 (it was 0.123451)."),
        ("0.2 <= x <= 0.4", {"x": 0.9}, "It would have fired with `x` at 0.4 (it was 0.9)."),
        ("0.2 < x < 0.4", {"x": 0.9}, "It would have fired with `x` just below 0.4 (it was 0.9)."),
        ("a > 100 or b > 2", {"a": 99, "b": 0}, "It would have fired with `a` at 101 or more (it was 99)."),
        ("a / b > 0.5", {"a": 3, "b": 6}, "It would have fired with `b` at 5 (it was 6)."),
        ("a * a + b > 100", {"a": 3, "b": 0}, "It would have fired with `a` at 11 or more (it was 3)."),
        ("(a > 3) + (b > 2) >= 1", {"a": 3, "b": 0}, "It would have fired with `a` at 4 or more (it was 3)."),
        (
            "flag and a >= 2",
            {"flag": False, "a": 1},
            "No single number decides it: it would have fired if `flag` (it was false) and `a >= 2` (it was 1) had held.",
        ),
        ("flag", {"flag": True}, "No single number decides it: it would not have fired if `flag` (it was true) had not held."),
        ("word > 3", {"word": "x"}, "No single number decides it: it would have fired if `word > 3` (without a value) had held."),
        ("a < 0", {"a": 3}, "No single number decides it: it would have fired if `a < 0` (it was 3) had held."),
        ("1 > 2", {}, "No single number decides it: it would have fired if `1 > 2` (it was 1) had held."),
    ],
)
def test_the_nearest_single_number_is_told_in_one_sentence(text: str, env: dict[str, Any], sentence: str) -> None:
    assert explained(text, **env) == sentence


def test_of_two_ways_the_one_with_fewer_conditions_is_told() -> None:
    assert explained("(flag and word == 'a' and a > 1) or (flag and b > 1)", flag=False, word="x", a=0, b=0) == (
        "No single number decides it: it would have fired if `flag` (it was false) and `b > 1` (it was 0) had held."
    )


def test_one_window_that_turns_over_is_enough_to_end_it_and_all_that_fail_must_to_begin_it() -> None:
    explainer = Explainer("x > 0.5", NAMES)
    assert explainer.counterfactual_over({"5m": {"x": 0.9}, "1h": {"x": 0.6}}) == (
        "It would not have fired with `x` over 1h at 0.5 or less (it was 0.6)."
    )
    assert explainer.counterfactual_over({"5m": {"x": 0.4}, "1h": {"x": 0.6}, "1d": {"x": 0.3}}) == (
        "It would have fired with `x` over 5m above 0.5 (it was 0.4) and `x` over 1d above 0.5 (it was 0.3)."
    )


def test_what_the_language_does_not_know_is_refused_as_there() -> None:
    with pytest.raises(DefinitionsError, match='did you mean "flag"'):
        Explainer("flagg", NAMES)


NUMBERS = st.one_of(st.integers(-3, 20), st.floats(-4, 20, allow_nan=False).map(lambda x: round(x, 3)))
# No number so small that dividing by it is infinite, which times nothing is no number.
FRACTIONS = st.floats(-9, 9).map(lambda x: round(x, 6))
ENVS = st.fixed_dictionaries(
    {"a": st.integers(0, 12), "b": st.integers(-3, 12), "x": FRACTIONS, "flag": st.booleans(), "word": st.sampled_from(["p", "q"])}
)
TERMS = st.recursive(
    st.one_of(st.sampled_from(["a", "b", "x"]), NUMBERS.map(str)),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from("+-*/"), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"), part.map(lambda t: f"(-{t})")
    ),
    max_leaves=4,
)
COMPARISONS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
TEXTS = st.recursive(
    st.one_of(
        st.tuples(TERMS, COMPARISONS, TERMS).map(" ".join),
        st.tuples(TERMS, COMPARISONS, TERMS, COMPARISONS, TERMS).map(" ".join),
        st.sampled_from(["flag", "word == 'p'", "a"]),
    ),
    lambda part: st.one_of(
        part.map(lambda t: f"not ({t})"), st.tuples(part, st.sampled_from([" and ", " or "]), part).map(lambda t: f"({t[0]}{t[1]}{t[2]})")
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(TEXTS, ENVS)
def test_the_change_told_turns_the_expression_over_and_names_one_number_as_it_was(text: str, env: dict[str, Any]) -> None:
    explainer = Explainer(text, NAMES)
    change = explainer.nearest(env)
    if change is None:
        return
    assert env[change.name] == change.value
    assert explainer.holds({**env, change.name: change.to}) is not explainer.holds(env)
    assert isinstance(change.to, int) or not isinstance(change.value, int)
    assert change.to >= 0 or not isinstance(change.value, int) or change.value < 0


@settings(deadline=None)
@given(TEXTS, ENVS)
def test_turning_over_what_is_decisive_turns_the_whole(text: str, env: dict[str, Any]) -> None:
    explainer = Explainer(text, NAMES)
    conditions = explainer.conditions(env)
    if any(condition.value is None for condition in conditions):
        return
    holds = [condition.holds for condition in conditions]
    assert holds_with(explainer, holds) is explainer.holds(env)
    decisive = explainer.decisive(env)
    assert decisive
    # Where a condition stands twice in the text, each stands for itself.
    left = list(decisive)
    turned = []
    for condition in conditions:
        turn = condition in left
        if turn:
            left.remove(condition)
        turned.append(condition.holds is not turn)
    if len(set(conditions)) == len(conditions):
        assert holds_with(explainer, turned) is not explainer.holds(env)


def holds_with(explainer: Explainer, holds: list[bool]) -> bool:
    def value(tree: Any) -> bool:
        if isinstance(tree, int):
            return holds[tree]
        return (all if tree.kind == "and" else any)(value(part) for part in tree.parts)

    return value(explainer._tree)


@settings(deadline=None)
@given(st.integers(-5, 5).filter(bool), st.integers(-9, 9), COMPARISONS, st.integers(-20, 20), st.integers(0, 12))
def test_no_whole_number_nearer_than_the_one_told_turns_it_over(factor: int, summand: int, compare: str, threshold: int, a: int) -> None:
    explainer = Explainer(f"{factor} * a + {summand} {compare} {threshold}", NAMES)
    holding = explainer.holds({"a": a})
    distances = [abs(other - a) for other in range(60) if explainer.holds({"a": other}) is not holding]
    change = explainer.nearest({"a": a})
    assert (abs(change.to - a) if change else None) == min(distances, default=None)


@settings(deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.sampled_from(["<", "<=", ">", ">="]))
def test_of_a_rate_the_change_told_is_the_threshold_to_the_last_digits(x: float, threshold: float, compare: str) -> None:
    change = Explainer(f"x + 0.05 {compare} {threshold}", NAMES).nearest({"x": x})
    assert change is not None
    assert math.isclose(change.to + 0.05, threshold, rel_tol=1e-9)


@settings(deadline=None)
@given(TEXTS, ENVS)
def test_the_same_numbers_give_the_same_sentence(text: str, env: dict[str, Any]) -> None:
    assert Explainer(text, NAMES).counterfactual(dict(reversed(env.items()))) == Explainer(text, NAMES).counterfactual(env)
