"""Dates, telephone numbers, codes, case numbers, sums: the same tokens however they are written.

| written | tokens |
|---|---|
| 2024년 11월 5일, 2024-11-05, 2024.11.5, 2024. 11. 5., 2024/11/5 | 2024 년 11 월 5 일 2024-11 --11-05 2024-11-05 |
| 2024년 11월; 11월 5일 | 2024 년 11 월 2024-11; 11 월 5 일 --11-05 |
| 20241105 | those of 2024-11-05, and 20241105 |
| 010-7711-2299, 010.7711.2299, 010 7711 2299, 01077112299, +82 10-7711-2299 | 010 7711 2299 id:01077112299 |
| KRA-520104C, KRA520104C, kra 520104c | kra 520104 c id:kra520104c |
| GPT-4 (fewer than three digits) | gpt 4 gpt4 |
| 2019다12345, 2019 다 12345 | 2019 다 12345 id:2019다12345 |
| 제2024-15호, 2024-15호 | 2024 15 id:제2024-15호 |
| 110-234-567890 (nine digits or more); 1588-1234 | 110 234 567890 110234567890; 1588 1234 15881234 |
| 3만 5천, 1억 2,000만; 1천5백 before 원 | 35000, 120000000; 1500 |
| hong@example.kr | hong example kr id:hong@example.kr |

Parts are tokens too, so that 2024년 11월 finds 2024-11-05, and 7711-2299 the telephone number. ``id:`` marks the name
of one thing (`korag.analysis.marks`). Neither 10.1.1 nor 3.14 is a date, and 10-20 is no telephone number.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from korag.analysis.marks import MENTION

Tokens = tuple[str, ...]
_DASH = "[-\u2010-\u2015\u2212]"
_FREE = r"(?<![0-9A-Za-z.,/-])"
"""Nothing is written before it, …"""
_END = rf"(?![0-9A-Za-z]|{_DASH}\d|\.\d)"
"""… nor behind it, but Hangul may be: 2024-11-05까지."""
_YEAR, _MONTH, _DAY = r"(?:1[89]|20)\d\d", r"(?:1[0-2]|0?[1-9])", r"(?:3[01]|[12]\d|0?[1-9])"
_CASE = (  # kinds of cases, by the rules on case numbers of the Supreme Court and the Constitutional Court
    "(?:헌[가나다라마바사아]|[가고드느구][단합]|가소|고[정약]|타경|재[가나다두도누]"
    "|[가나다라마카바구고노도로모오초누두루무부아허후흐르므스즈차])"
)
_AMOUNT = r"\d[\d,]*(?:\.\d+)?\s?"
_SMALL = rf"{_AMOUNT}[천백십](?![만억])"
_LARGE = rf"{_AMOUNT}(?:[천백십]?[만억]|조(?=\s?원|\s?\d[\d,]*[천백십]?억))"

PATTERNS = {
    "date": (
        rf"{_FREE}(?:{_YEAR}\s?년\s{{0,2}}{_MONTH}\s?월(?:\s{{0,2}}{_DAY}\s?일)?|{_MONTH}\s?월\s{{0,2}}{_DAY}\s?일"
        rf"|{_YEAR}(?:{_DASH}{_MONTH}{_DASH}{_DAY}|/{_MONTH}/{_DAY}(?!/)|\s?\.\s?{_MONTH}\s?\.\s?{_DAY}){_END}"
        rf"|{_YEAR}(?:1[0-2]|0[1-9])(?:3[01]|[12]\d|0[1-9]){_END})"
    ),
    "phone": (
        rf"{_FREE}(?:\(?0|\+82(?:{_DASH}|[ .])?\(?0?\)?)(?:2|[3-6]\d|1[016789]|50\d|70|80)\)?"
        rf"(?:{_DASH}|[ .])?\d{{3,4}}(?:{_DASH}|[ .])?\d{{4}}{_END}"
    ),
    "case": rf"{_FREE}(?:(?:19|20)\d\d\s?{_CASE}\s?\d{{2,7}}|\d\d{_CASE}\d{{3,7}})(?![\d,]|\s?[년월])",
    "document": rf"(?:제\s?)?{_FREE}{_YEAR}{_DASH}\d{{1,6}}\s?호",
    "account": rf"{_FREE}(?:\d{{2,6}}(?:-\d{{2,8}}){{2,4}}|\d{{3,4}}-\d{{4}}){_END}",
    "sum": (
        rf"{_FREE}(?:(?:{_SMALL}\s?){{0,3}}{_LARGE}(?:\s?(?:{_SMALL}|{_LARGE})){{0,6}}(?:\s?\d[\d,]*(?=\s?원))?"
        rf"|{_SMALL}(?:\s?{_SMALL}){{0,3}}(?:\s?\d{{1,3}})?(?=\s?원))"
    ),
    "email": r"(?<![0-9A-Za-z.+-])[0-9A-Za-z][\w.+-]{0,63}@[0-9A-Za-z-]{1,63}(?:\.[0-9A-Za-z-]{1,63}){1,5}",
    "code": (
        rf"(?<![0-9A-Za-z_-])[A-Za-z]{{1,12}}(?:[_\u2010-\u2015\u2212-]?[0-9A-Za-z]{{1,20}}){{0,3}}"
        rf"(?:(?<=[A-Za-z]) \d{{4,12}}[A-Za-z]{{0,3}})?(?![0-9A-Za-z_@]|{_DASH}[0-9A-Za-z]|\.\d)"
    ),
}
"""Patterns by kind; `TOKENS` has a function for each."""


def _date(text: str) -> Tokens:
    numbers = re.findall(r"\d+", text)
    whole: Tokens = ()
    if len(numbers) == 1:
        whole, numbers = (text,), [text[:4], text[4:6], text[6:]]
    parts = [number.lstrip("0") for number in numbers]
    if len(parts) == 3:
        year, month, day = parts
    elif len(parts[0]) == 4:
        year, month, day = (*parts, "")
    else:
        year, month, day = ("", *parts)
    tokens = [token for part, unit in ((year, "년"), (month, "월"), (day, "일")) if part for token in (part, unit)]
    year_month, month_day = f"{year}-{month:0>2}", f"-{month:0>2}-{day:0>2}"
    if year:
        tokens.append(year_month)
    if day:
        tokens.append(f"-{month_day}")
    if year and day:
        tokens.append(f"{year}{month_day}")
    return (*whole, *tokens)


def _phone(text: str) -> Tokens:
    digits = re.sub(r"\D", "", text)
    digits = f"0{digits[2:].lstrip('0')}" if digits.startswith("82") else digits
    area = 2 if digits.startswith("02") else 4 if digits.startswith("050") else 3
    return digits[:area], digits[area:-4], digits[-4:], MENTION + digits


def _case(text: str) -> Tokens:
    year, kind, number = re.findall(r"\d+|[가-힣]+", text)
    return year, kind, number, f"{MENTION}{year}{kind}{number}"


def _document(text: str) -> Tokens:
    year, number = re.findall(r"\d+", text)
    return year, number, f"{MENTION}제{year}-{number}호"


def _account(text: str) -> Tokens:
    parts = tuple(text.split("-"))
    whole = "".join(parts)
    return (*parts, whole) if len(parts) == 2 or len(whole) >= 9 else ()


_UNITS = {"십": 10, "백": 100, "천": 1_000, "만": 10**4, "억": 10**8, "조": 10**12}


def _sum(text: str) -> Tokens:
    total = section = 0.0
    number = last = 0.0
    for part in re.findall(r"\d[\d,]*(?:\.\d+)?|[십백천만억조]", text):
        if part not in _UNITS:
            number = float(part.replace(",", ""))
        elif (unit := _UNITS[part]) < 10**4:
            section, number = section + number * unit, 0.0
        elif last and unit >= last:  # 3만 2억: two numbers
            return ()
        else:
            total, section, number, last = total + (section + number) * unit, 0.0, 0.0, unit
    value = total + section + number
    return (str(round(value)),) if value < 2**53 and abs(value - round(value)) < 1e-3 else ()


def _email(text: str) -> Tokens:
    return (*re.findall(r"[^\W_]+", text.lower()), MENTION + text.lower())


def _code(text: str) -> Tokens:
    separated = re.findall(r"[0-9A-Za-z]+", text.lower())
    whole = "".join(separated)
    parts = re.findall(r"\d+|[a-z]+", " ".join(separated))
    digits = sum(map(str.isdigit, whole))
    if " " in text and separated[-1].isdigit() and len(separated[-1]) == 4:  # RTX 4090, Windows 2022: words
        return ()
    if digits >= 3:
        return (*parts, MENTION + whole)
    return (*parts, whole) if digits and len(separated) > 1 else ()


TOKENS: dict[str, Callable[[str], Tokens]] = {
    "date": _date,
    "phone": _phone,
    "case": _case,
    "document": _document,
    "account": _account,
    "sum": _sum,
    "email": _email,
    "code": _code,
}
"""Tokens of what a pattern matched; none if it is something else."""
