"""The form of a row about a published model; `korag.checkpoints.preset_rows` has the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["dense", "sparse", "late_interaction"]
"""Families of encoders: what `korag.load_encoder` loads."""
ModelFamily = Family | Literal["cross_encoder"]
"""All families; cross-encoders make no vectors, so no encoder is one."""

UNKNOWN = "unknown"
"""The licence of a model for which none was found."""
_FREE = frozenset({"Apache-2.0", "MIT"})


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A published evaluation; only figures of the same one can be compared.

    Attributes:
        mark: The letter that stands for it in tables.
        name: Its name.
        korean: The same in Korean.
        about: Tasks, metric and settings.
        source: Where its figures were published.
        published: Date of that publication, ``YYYY-MM-DD`` or ``YYYY-MM``.
    """

    mark: str
    name: str
    korean: str
    about: str
    source: str
    published: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The quality of a model on a benchmark.

    Attributes:
        benchmark: The evaluation.
        value: nDCG@10, between 0 and 1.
        source: Where this figure was published, if not with the others of the benchmark.
    """

    benchmark: Benchmark
    value: float
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Facts about a published model. None and an empty string stand for what could not be looked up.

    The prompts are used for checkpoints that contain none of their own, so they must be right to the character: a
    missing space changes every vector, and nothing but the quality of the results shows it. The same holds for
    `dims`, without which a checkpoint counts as incomplete. All other facts are for people to read.

    Attributes:
        name: Hub id, or the name of a bundled model.
        family: Its family.
        dim: Size of its vectors: per text, per token, or of the vocabulary.
        dims: Dimensions of its Matryoshka heads, ascending; empty if it has none.
        query_prompt: Prefix of every query.
        document_prompt: Prefix of every document.
        query_length: Length of a query in tokens, for late interaction.
        max_length: Longest document, in tokens; for cross-encoders, longest pair.
        parameters: Number of parameters as its source writes it, e.g. ``"568M"``.
        base: The checkpoint it was trained from.
        licence: SPDX id, or ``"unknown"``.
        figures: Published figures, the one to show first.
        note: What else to know before taking it.
        loads: False while KoRAG cannot load the layout of its checkpoint.
        source: Where these facts come from.
    """

    name: str
    family: ModelFamily
    dim: int | None = None
    dims: tuple[int, ...] = ()
    query_prompt: str = ""
    document_prompt: str = ""
    query_length: int | None = None
    max_length: int | None = None
    parameters: str = ""
    base: str = ""
    licence: str = UNKNOWN
    figures: tuple[Figure, ...] = ()
    note: str = ""
    loads: bool = True
    source: str

    @property
    def free(self) -> bool:
        """True if its licence is known to allow commercial use."""
        return self.licence in _FREE
