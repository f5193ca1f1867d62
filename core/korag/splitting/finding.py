"""Finds the sections of a text, whatever kind of text it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from korag._optional import check
from korag.checks import check_choice
from korag.splitting.code import code_sections
from korag.splitting.dividing import kiwi_sentences, sentences
from korag.splitting.html import Page, html_sections
from korag.splitting.kinds import Kind
from korag.splitting.markdown import markdown_sections
from korag.splitting.prose import prose_sections
from korag.splitting.sections import Divide, Section
from korag.splitting.statutes import statute_sections
from korag.splitting.tables import record_sections
from korag.splitting.views import View

SentenceRule: TypeAlias = Literal["rules", "kiwi"]
"""The way to divide prose into sentences."""
DIVIDES: Mapping[SentenceRule, Divide] = {"rules": sentences, "kiwi": kiwi_sentences}


def check_sentences(rule: object) -> SentenceRule:
    """Returns a rule for sentences.

    Raises:
        InvalidArgumentError: If there is no such rule.
        MissingDependencyError: If Kiwi is asked for and not installed.
    """
    choices: tuple[SentenceRule, ...] = get_args(SentenceRule)
    checked = check_choice("sentences", rule, choices)
    if checked == "kiwi":
        check("kiwipiepy", extra="kiwi")
    return checked


def find_sections(
    kind: Kind, view: View, page: Page | None, *, divide: Divide, title: str | None = None
) -> list[Section]:
    """Returns the sections of a text, in order.

    Args:
        kind: The splitter for it.
        view: The text; that of the page, if there is one.
        page: The page, of HTML.
        divide: Divides prose into sentences.
        title: The name of a statute that does not begin with it.
    """
    if page is not None:
        return html_sections(page, view, divide)
    if kind == "statutes":
        return statute_sections(view.text, divide, law=title)
    if kind == "markdown":
        return markdown_sections(view.text, divide)
    if kind == "table":
        return record_sections(view.text)
    return code_sections(view.text) if kind == "code" else prose_sections(view.text, divide)
