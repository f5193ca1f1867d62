"""The tokens of a text with their places in it, as it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from korag.encoders.base import Task
from korag.encoders.inputs import input_tokenizer
from korag.encoders.pipeline import Pipeline
from korag.explanations import SEPARATOR, Kind, Span, Token
from korag.places import Spelling, spell


def read_text(
    pipeline: Pipeline, text: str, task: Task, name: Callable[[Iterable[int]], list[str]], ids: Sequence[int] | None
) -> list[Token]:
    """Returns the tokens of a text, prompt and special tokens included.

    Args:
        pipeline: Of the model.
        text: The text as it was given.
        task: Queries or documents.
        name: Returns tokens as text.
        ids: The tokens that the model reads; None for those that the tokenizer makes of the text. What the tokenizer
            does not make are expansions of a query.
    """
    spelling = spell(text)
    (prepared,) = pipeline.prepare([spelling.text], task)
    (cut,) = pipeline.cut([prepared], task)
    made, offsets = pipeline.offsets(cut, task)
    special = set(input_tokenizer(pipeline.model, task).all_special_ids)
    before = pipeline.characters_before(spelling.text, task)
    places = [_place(token, offset, before, spelling, special) for token, offset in zip(made, offsets, strict=True)]
    known = places if ids is None else _aligned(made, places, ids, special)
    read = made if ids is None else ids
    return [
        Token((token,), text, spans, kind) for token, text, (kind, spans) in zip(read, name(read), known, strict=True)
    ]


def joined(tokens: Sequence[Token]) -> Token:
    """Returns the tokens of one vector as one."""
    if len(tokens) == 1:
        return tokens[0]
    return Token(
        tuple(id_ for token in tokens for id_ in token.ids),
        SEPARATOR.join(token.text for token in tokens),
        tuple(dict.fromkeys(span for token in tokens for span in token.spans)),
        "text" if any(token.kind == "text" for token in tokens) else tokens[0].kind,
    )


_Place = tuple[Kind, tuple[Span, ...]]


def _place(token: int, offset: Span | None, before: int, spelling: Spelling, special: set[int]) -> _Place:
    if offset is None or offset[0] == offset[1]:
        return ("special" if token in special else "text"), ()
    begin, end = offset
    if end <= before:
        return "prompt", ()
    begin, end = spelling.place(max(0, begin - before), end - before)
    return "text", (((begin, end),) if begin < end else ())


def _aligned(made: Sequence[int], places: Sequence[_Place], read: Sequence[int], special: set[int]) -> list[_Place]:
    """Gives the tokens that a model reads the places of those that its tokenizer makes.

    Both begin the same. Where the model reads fewer, it has cut the text before the last special tokens; where it reads
    more, it has added mask tokens there or at the end.
    """
    same = next((place for place, pair in enumerate(zip(made, read, strict=False)) if pair[0] != pair[1]), None)
    first = min(len(made), len(read)) if same is None else same
    last = 0
    while last < min(len(made), len(read)) - first and made[-1 - last] == read[-1 - last]:
        last += 1
    middle = read[first : len(read) - last]
    added: list[_Place] = [
        ("expansion" if len(read) > len(made) else "special" if token in special else "text", ()) for token in middle
    ]
    return [*places[:first], *added, *places[len(places) - last :]]
