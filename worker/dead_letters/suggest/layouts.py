"""The formats in which a text may be a time. Those of one tuple are rivals: the same text, in another order. Pure."""

from __future__ import annotations

import re

TIME = (
    r"(?:(?P<gap>, | |T)(?P<hour>\d{1,2}):\d{2}(?P<second>:\d{2}(?P<fraction>\.\d{1,6})?)?(?P<half> ?[AaPp][Mm])?"
    r"(?P<zone> ?(?:[+-]\d{2}:?\d{2}|Z))?)?"
)
NUMERIC = re.compile(
    r"(?P<weekday>[A-Za-z]{3}, )?(?P<a>\d{1,4})(?P<sign>[./ -])(?P<b>\d{1,2})(?P=sign)(?P<c>\d{1,4})" + TIME,
    re.ASCII,
)
DAY_FIRST = re.compile(
    r"(?P<weekday>[A-Za-z]{3}, )?(?P<a>\d{1,2})(?P<sign>[./ -])(?P<month>[A-Za-z]{3,9})(?P=sign)(?P<c>\d{4}|\d{2})"
    + TIME,
    re.ASCII,
)
MONTH_FIRST = re.compile(r"(?P<month>[A-Za-z]{3,9}) \d{1,2}(?P<comma>,?) \d{4}" + TIME, re.ASCII)
DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
CENTURIES = ("19", "20")
# No country writes a day behind the year and before the month: an order only where a value shows it.
UNUSUAL = "%Y{sign}%d{sign}%m"


def layouts(text: str) -> list[tuple[str, ...]]:
    """The formats that fit what the text looks like, the usual one first."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return _digits(text)
    if found := NUMERIC.fullmatch(text):
        return _numeric(found)
    if found := DAY_FIRST.fullmatch(text):
        month = "%b" if len(found["month"]) == 3 else "%B"
        before = "%a, " if found["weekday"] else ""
        year = "%Y" if len(found["c"]) == 4 else "%y"
        orders = [("%d", year), ("%y", "%d")] if year == "%y" and len(found["a"]) == 2 else [("%d", year)]
        sign = found["sign"]
        return [tuple(f"{before}{a}{sign}{month}{sign}{c}{_time(found)}" for a, c in orders)]
    if found := MONTH_FIRST.fullmatch(text):
        month = "%b" if len(found["month"]) == 3 else "%B"
        return [(f"{month} %d{found['comma']} %Y{_time(found)}",)]
    return []


def width(layout: str) -> int | None:
    """How many digits a text of this format has where nothing separates them: strptime itself takes fewer."""
    return 8 if layout in ("%d%m%Y", "%m%d%Y") else next(
        (digits for digits, known in DIGITS.items() if known == layout), None
    )  # fmt: skip


def is_unusual(layout: str) -> bool:
    """Whether only a value that has no other order shows this one."""
    return any(layout.startswith(UNUSUAL.format(sign=sign)) for sign in "./ -")


def _digits(text: str) -> list[tuple[str, ...]]:
    if len(text) in DIGITS and text[:2] in CENTURIES and 1 <= int(text[4:6]) <= 12:
        return [(DIGITS[len(text)],)]
    if len(text) == 8 and text[4:6] in CENTURIES:
        return [("%d%m%Y", "%m%d%Y")]
    return []


def _numeric(found: re.Match[str]) -> list[tuple[str, ...]]:
    first, last, sign = len(found["a"]), len(found["c"]), found["sign"]
    before = "%a, " if found["weekday"] else ""
    orders: list[str] = []
    if first == 4 and last <= 2:
        orders = ["%Y %m %d", "%Y %d %m"]
    elif last == 4 and first <= 2:
        orders = ["%d %m %Y", "%m %d %Y"]
    elif first <= 2 and last == 2:
        orders = ["%d %m %y", "%m %d %y"]
        if first == 2:
            orders.append("%y %m %d")
    if not orders:
        return []
    return [tuple(before + order.replace(" ", sign) + _time(found) for order in orders)]


def _time(found: re.Match[str]) -> str:
    if not found["gap"]:
        return ""
    text = found["gap"] + ("%I" if found["half"] else "%H") + ":%M"
    text += ":%S" if found["second"] else ""
    text += ".%f" if found["fraction"] else ""
    for name, code in (("half", "%p"), ("zone", "%z")):
        if found[name]:
            text += (" " if found[name].startswith(" ") else "") + code
    return text
