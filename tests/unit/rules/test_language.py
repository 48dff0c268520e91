"""The rule language: what it means, that nothing else gets through, and that nothing in it can take time or memory that matters."""

from __future__ import annotations

import ast
import math
import string
import tracemalloc
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.errors import DefinitionsError
from streamer.rules.language import (
    AGGREGATE_NAMES,
    DEPTH_MAX,
    ENTITY_NAMES,
    LENGTH_MAX,
    NO_VALUE,
    compile_expression,
    faults,
    foresee,
    names_in,
)

NAMES = frozenset({"a", "b", "word", "flag"})
EXPRESSIVE: Final = (ast.Constant, ast.Name, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare)
ALLOWED: Final = (*EXPRESSIVE, ast.Load, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans())
ENVIRONMENTS = st.fixed_dictionaries(dict.fromkeys(sorted(NAMES), st.one_of(NUMBERS, st.text(max_size=20))))


def value(text: str, **names: Any) -> Any:
    return compile_expression(text, NAMES)(names)


def refused(text: str) -> str:
    with pytest.raises(DefinitionsError) as caught:
        compile_expression(text, NAMES)
    assert list(faults(text, NAMES)), "compiling and checking are of one mind"
    sentence = str(caught.value)
    assert "\n" not in sentence.replace(text, "")
    return sentence


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("a + b * 2 - 1", {"a": 1, "b": 3}, 6),
        ("a / b", {"a": 1, "b": 4}, 0.25),
        ("-a < 0 <= b", {"a": 1, "b": 0}, True),
        ("a < b < 3", {"a": 1, "b": 3}, False),
        ("not a or b", {"a": 1, "b": 0}, False),
        ("a > 1 and b > 1 or flag", {"a": 0, "b": 0, "flag": True}, True),
        ("word == 'x' and a != 2", {"word": "x", "a": 1}, True),
        ("word < 'b'", {"word": "a"}, True),
        (" (a\n) ", {"a": 5}, 5),
    ],
)
def test_it_means_what_it_says(text: str, names: dict[str, Any], expected: Any) -> None:
    assert value(text, **names) == expected


def test_and_and_or_look_no_further_than_they_must() -> None:
    assert value("a > 0 and 1 / a > 0.5", a=0) is False
    assert value("a == 0 or 1 / a > 0.5", a=0) is True


@pytest.mark.parametrize(
    "text",
    [
        "a.real", "a[0]", "a()", "abs(a)", "(lambda: 1)()", "[a]", "{a}", "{a: 1}", "(a, b)", "a if b else 1", "f'{a}'", "a := 1",
        "await a", "a ** 2", "a // 2", "a % 2", "a << 1000", "a | b", "~a", "+a", "a @ b", "a in word", "a is b", "a not in word",
        "[x for x in word]", "b'bytes'", "1j", "None", "...", "*a", "__import__('os')", "word.__class__.__mro__", "yield", "a; b", "a = 1",
        "import os", "",
    ],
)  # fmt: skip
def test_whatever_else_python_has_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("'a' * 1000000000 == word", "arithmetic with a text"),
        ("word + 'a' == 'ba'", "arithmetic with a text"),
        ("9999999999999999 > a", "a number beyond 1e+15"),
        ("1e999 > a", "a number beyond 1e+15"),
        ("a + " * 400 + "a", f"the expression has 1601 characters, at most {LENGTH_MAX} are allowed"),
        ("not " * 40 + "a", f"nested more than {DEPTH_MAX} levels deep"),
        ("-" * 900 + "a", f"nested more than {DEPTH_MAX} levels deep"),
        ("(" * 400 + "a" + ")" * 400, "cannot read the expression"),
        ("a + " * 60 + "a", f"nested more than {DEPTH_MAX} levels deep"),
        ("1or 2", "cannot read the expression"),
        ("word == '\\d'", "cannot read the expression"),
        ("a\0b", "cannot read the expression"),
        ("lord > 1", 'unknown name "lord" in "lord > 1": did you mean "word"?'),
        ("x > 1 and y > 1", 'unknown name "x" in "x > 1 and y > 1": known are a, b, flag, word; unknown name "y"'),
    ],
)
def test_what_is_too_much_or_not_known_is_one_sentence(text: str, sentence: str) -> None:
    assert sentence in refused(text)


@pytest.mark.parametrize("text", ["word * 1000000000000000", "word + word", "1000000000000000 * word", "-word", "word - 1", "word / 2"])
def test_a_text_that_only_the_numbers_show_has_no_arithmetic_and_takes_no_memory(text: str) -> None:
    expression = compile_expression(text, NAMES)
    tracemalloc.start()
    try:
        with pytest.raises(TypeError):
            expression({"word": "a" * 1000})
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_the_largest_number_an_expression_can_make_is_small() -> None:
    longest = "*".join(["999999999999999"] * (DEPTH_MAX - 1))
    largest = compile_expression(longest, NAMES)({})
    assert isinstance(largest, int)
    assert math.log10(largest) < 15 * DEPTH_MAX


ALPHABET = string.ascii_letters + string.digits + string.punctuation + " \n\t\0é∂𝔞"
PIECES = st.sampled_from(
    ["a", "b", "word", "flag", "x", "1", "0", "2.5", "1e15", "'t'", "''", "+", "-", "*", "/", "**", "<", ">=", "==", "!=", "and", "or",
     "not", "(", ")", ",", ".", "[", "]", "if", "else", "lambda", ":", "in", "is", "'", "\\", "#", "\n", "f'", "{", "}",
     "0x", "_", "%", ":=", "`"]
)  # fmt: skip


@given(
    st.one_of(
        st.text(max_size=60), st.text(ALPHABET, max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES).map("".join)
    )
)
@example("(" * 500)
@example("a" + ".a" * 400)
@example("not " * 249)
@example("\ud800")
@settings(max_examples=200, deadline=None)
def test_any_text_compiles_or_is_refused_with_a_sentence(text: str) -> None:
    refusals = list(faults(text, NAMES))
    if refusals:
        with pytest.raises(DefinitionsError) as caught:
            compile_expression(text, NAMES)
        assert str(caught.value) == "; ".join(refusals)
        return
    compile_expression(text, NAMES)
    nodes = list(ast.walk(ast.parse(text.strip(), mode="eval").body))
    assert [node for node in nodes if not isinstance(node, ALLOWED)] == []
    assert names_in(text) <= NAMES


OPERATORS = ["+", "-", "*", "/", "<", "<=", "==", "!=", ">", "and", "or"]


class Both(NamedTuple):
    """An expression, and what Python must be asked for the same: `and` and `or` are of truth values here."""

    text: str
    python: str


def joined(parts: tuple[Both, str, Both]) -> Both:
    left, operator, right = parts
    python = f"({left.python} {operator} {right.python})"
    return Both(f"({left.text} {operator} {right.text})", f"bool{python}" if operator in ("and", "or") else python)


LEAVES = st.sampled_from([*sorted(NAMES), "0", "1", "2.5", "1e15", "1e-15", "True", "'t'", "''"]).map(lambda text: Both(text, text))
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(OPERATORS), inner).map(joined),
        st.tuples(st.sampled_from(["not", "-"]), inner).map(lambda pair: Both(*(f"({pair[0]} {part})" for part in pair[1]))),
        st.tuples(inner, inner, inner).map(lambda three: Both(*("({} < {} <= {})".format(*parts) for parts in zip(*three, strict=True)))),
    ),
    max_leaves=12,
)


@given(EXPRESSIONS, ENVIRONMENTS)
@settings(max_examples=200, deadline=None)
def test_whatever_the_values_it_is_what_python_says_or_has_no_value(both: Both, names: dict[str, Any]) -> None:
    if any("arithmetic with a text" in fault or "deep" in fault for fault in faults(both.text, NAMES)):
        return
    expression = compile_expression(both.text, NAMES)
    try:
        found = expression(names)
    except NO_VALUE:
        return
    assert isinstance(found, bool | int | float | str)
    assert str(found) == str(eval(both.python, {}, names))  # noqa: S307  nan is not equal to itself


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("word == 'x' and a > 3", False), ("a > 3 and word == 'x'", False), ("a > 3 and word == 'y'", None), ("word == 'y'", True),
        ("a > 3 or word == 'y'", True), ("a > 3 or word == 'x'", None), ("not (a > 3 or word == 'y')", False), ("a > 3", None),
        ("(a > 3 or b > 3) and not word == 'y'", False), ("a > 3 or (b > 3 and word == 'x')", None), ("word > 3 and a > 3", None),
        ("1 == 0", False),
    ],
)  # fmt: skip
def test_what_the_known_names_alone_decide_is_foreseen_in_any_order(text: str, expected: bool | None) -> None:
    compile_expression(text, NAMES)
    assert foresee(text, frozenset({"word"}))({"word": "y"}) == expected


@given(EXPRESSIONS, ENVIRONMENTS, st.sets(st.sampled_from(sorted(NAMES))))
@settings(max_examples=200, deadline=None)
def test_what_is_foreseen_comes_true_whatever_the_other_names_are(both: Both, names: dict[str, Any], known: set[str]) -> None:
    if list(faults(both.text, NAMES)):
        return
    foreseen = foresee(both.text, frozenset(known))({name: names[name] for name in known})
    try:
        found = compile_expression(both.text, NAMES)(names)
    except NO_VALUE:
        return
    assert foreseen is None or bool(foreseen) == bool(found)
    assert known != NAMES or foreseen is not None


def test_every_documented_name_can_be_used() -> None:
    for names in (AGGREGATE_NAMES, *ENTITY_NAMES.values()):
        for name in (name.replace("*", "any") for name in names):
            compile_expression(f"{name} == {name}", names)
