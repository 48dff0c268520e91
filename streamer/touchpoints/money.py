"""Amounts of money as integer minor units (cents), by the currency's exponent; never through a float."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

import msgspec

# Currencies whose exponent is not 2. Source: ISO 4217:2015, table A.1 "minor unit".
EXPONENTS: Final = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
DEFAULT_EXPONENT: Final = 2

# Larger amounts are taken for an error. Well inside 64 bits, so that sums of millions of them in a pane still fit.
LIMIT_MINOR: Final = 10**15
_DIGITS_MAX = 15

AMOUNT_PATTERN: Final = r"-?[0-9]{1,15}(\.[0-9]{1,18})?"
_AMOUNT = re.compile(AMOUNT_PATTERN.encode())
# As JSON numbers come from doubles: 1/300 is written with 19 digits after the point, and the least with the exponent -324.
_NUMBER = re.compile(rb"-?[0-9]{1,15}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")
# More digits than a number can have here, so that it is rounded once.
_CONTEXT = Context(prec=500, rounding=ROUND_HALF_EVEN)
_QUOTE, _POINT = b'".'


def exponent_of(currency: str) -> int:
    """Digits after the decimal point of `currency` (ISO 4217, upper case); 2 for an unknown or empty code."""
    return EXPONENTS.get(currency, DEFAULT_EXPONENT)


def minor_units(raw: bytes, exponent: int) -> int | None:
    """The amount in JSON text `raw` (a decimal string or a number, in major units) as minor units, half to even; null is None.

    Raises ValueError for anything else and for amounts above `LIMIT_MINOR`; the message quotes nothing.
    """
    if len(raw) <= 14 and raw[-2 - exponent : -1 - exponent] == b"." and exponent:  # "84.90": the usual form, without Decimal
        digits = raw[1:-1].replace(b".", b"", 1)
        if digits.isdigit() and raw[0] == _QUOTE and raw[1] != _POINT:
            return int(digits)
    return _parse(raw, exponent)


def _parse(raw: bytes, exponent: int) -> int | None:
    if raw == b"null":
        return None
    text = msgspec.json.decode(raw, type=str).encode() if raw[0] == _QUOTE else raw
    if (_AMOUNT if raw[0] == _QUOTE else _NUMBER).fullmatch(text) is None:
        raise ValueError("expected an amount as a decimal string or a number")
    amount = Decimal(text.decode())
    if not amount or amount.adjusted() + exponent <= _DIGITS_MAX:
        minor = int(_CONTEXT.quantize(_CONTEXT.scaleb(amount, exponent), Decimal(1)))
        if abs(minor) <= LIMIT_MINOR:
            return minor
    raise ValueError("the amount is too large")
