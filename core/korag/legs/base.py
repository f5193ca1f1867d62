"""The contracts of legs and codecs: a leg is one way to search, a codec the layout of its vectors in a segment.

Both are registered in `korag.legs.registry`, the only place that lists them. A leg knows texts, vectors and scores;
its codec knows arrays. Segments store plain arrays and the name and version of the codec that made them.
"""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint
from korag.encoders.base import Encoder
from korag.errors import FingerprintError, FormatVersionError, IndexStateError
from korag.explanations import LegExplanation
from korag.scoring import Ints
from korag.workers import run_all, run_here

THREADS_FROM = 8_192
"""Documents; below this, threads cost more than they save."""

Arrays = Mapping[str, NDArray[Any]]
"""The arrays a codec stores, by name."""
Scores = NDArray[np.float32]
UNTOLD = "이 검색 방식은 점수의 내역을 알려 주지 않습니다 / this leg does not tell what its score consists of"


@dataclass(frozen=True)
class SegmentSlice:
    """Some documents of one segment, as one leg sees them.

    Attributes:
        arrays: The leg's arrays, of all documents in the segment.
        rows: The documents meant, ascending. Shape: (documents,).
        memo: What a leg has computed of them, by name; kept as long as the slice, which is until they change.
        segment_memo: What it has computed of all documents in the segment; kept as long as that is open.
    """

    arrays: Arrays
    rows: Ints
    memo: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    segment_memo: dict[str, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def only(self, rows: Ints) -> SegmentSlice:
        """Other documents of the same segment."""
        return SegmentSlice(self.arrays, rows, segment_memo=self.segment_memo)


def narrow(slices: Sequence[SegmentSlice], positions: Ints) -> list[SegmentSlice]:
    """Selects documents by their positions in all slices, which ascend."""
    ends = np.cumsum([0, *(len(part.rows) for part in slices)])
    places = np.searchsorted(positions, ends).tolist()
    return [
        part.only(part.rows[positions[start:end] - first])
        for part, (start, end), first in zip(slices, pairwise(places), ends[:-1].tolist(), strict=True)
    ]


class Codec(ABC):
    """The layout of a leg's vectors in a segment. Stateless: one instance serves all collections.

    Layouts also decide how vectors are searched, so each leg's own codec base class (`korag.legs.dense.DenseCodec`, …)
    adds a method that scores documents, implemented by way of `decode`. A codec overrides it to be faster.

    Attributes:
        name: Recorded in manifests and segments.
        version: Of the layout; raised when array names or contents change. `read` takes older ones.
        learns: What is stored depends on what `learn` found in the first vectors of a collection. All segments of a
            collection are encoded with the same.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    learns: ClassVar[bool] = False

    @abstractmethod
    def encode(self, vectors: Any) -> dict[str, NDArray[Any]]:
        """Turns what `Leg.encode_documents` or `Leg.concat` returned into arrays.

        Merging segments decodes and encodes again, so encoding what `decode` returned must lose nothing more.
        """

    @abstractmethod
    def decode(self, arrays: Arrays, rows: Ints) -> Any:
        """Returns the vectors of some rows, which ascend, as `encode` takes them."""

    def learn(self, vectors: Any) -> Arrays | None:
        """Learns what `encode_with` needs from the vectors of a collection, or of its beginning; only if it `learns`.

        Returns:
            Some of the arrays of a segment; None if there are too few vectors to learn from.
        """
        return None

    def learned(self, arrays: Arrays) -> tuple[str, Arrays] | None:
        """Returns what the arrays of a segment were encoded with, and a name that tells it from others.

        None if they were encoded with nothing.
        """
        return None

    def encode_with(self, vectors: Any, learned: Arrays | None) -> dict[str, NDArray[Any]]:
        """As `encode`, with what `learn` or `learned` returned; None encodes as a collection too small to learn from.

        By default the same as `encode`.
        """
        return self.encode(vectors)

    def merge(self, parts: Sequence[SegmentSlice], concat: Callable[[Sequence[Any]], Any]) -> dict[str, NDArray[Any]]:
        """Returns the arrays of a segment that holds what others hold; by default they are decoded and encoded.

        Args:
            parts: At least one.
            concat: `Leg.concat` of what `decode` returns.
        """
        return self.encode(concat([self.decode(part.arrays, part.rows) for part in parts]))

    def read(self, arrays: Arrays, version: int) -> Arrays:
        """Brings arrays of an older version of this codec into the current layout.

        Called whenever an old segment is opened, and once by `Collection.upgrade`, so it must work without an encoder.

        Args:
            arrays: As they are in the segment.
            version: The version that wrote them; never newer than `version`.

        Raises:
            FormatVersionError: If this codec cannot read that version.
        """
        if version != self.version:
            raise FormatVersionError(
                f"'{self.name}' 코덱은 버전 {version}을(를) 읽지 못합니다(지금 버전 {self.version}).",
                f"The codec '{self.name}' cannot read version {version} (it is at version {self.version}).",
            )
        return arrays

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:  # noqa: B027 (optional: by default, anything goes)
        """Raises if arrays of the current layout cannot be what `encode` returned. Reads all of them.

        Called when a segment is written, and by `Collection.verify`. The files may come from anywhere: no array may
        lead a reader outside of another. `korag.legs.arrays` has the checks.

        Args:
            arrays: As they are in the segment, by name.
            rows: How many documents it has.
            dim: Size of the encoder's vectors; None for a model-free leg.

        Raises:
            ValueError: With what is wrong, in a few words. A KeyError or IndexError counts as well.
        """

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `check`, when a segment is opened, before anything else reads its arrays. By default it is `check`.

        A codec whose segments are large overrides it to look at names, types, shapes and small arrays alone, by way of
        `korag.legs.arrays.view`. It promises that its readers survive whatever the other arrays hold: they check
        indices before they follow them, and call `korag.legs.arrays.verify` before they read a part.
        """
        self.check(arrays, rows, dim=dim)


class Leg(ABC):
    """One way to search: how texts are represented, compared and scored.

    Derive from `EncoderLeg` or `ModelFreeLeg`, which know how a collection makes and reopens them.

    Attributes:
        codec: How the representations are stored.
        encoder: Makes the representations; None for a model-free leg.
        takes_vectors: Queries may also be given as plain vectors, which `query_from_vector` checks.
        lexical: Scores the words that a query and a document share, so that no model can be bad at it; the default
            fusion judges the other legs by the lexical ones.
    """

    encoder: Encoder[Any] | None = None
    takes_vectors: bool = False
    lexical: bool = False

    def __init__(self, codec: Any) -> None:
        self.codec = codec

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Returns the manifest entry that recognizes and reopens this leg, as JSON values."""

    @classmethod
    @abstractmethod
    def reopen(cls, codec: Codec, recorded: Mapping[str, Any], given: Any, *, name: str, place: str) -> Self:
        """Makes the leg of an existing collection.

        Args:
            codec: How its representations are stored.
            recorded: Its `identity` when the collection was made.
            given: The encoder, which the collection has loaded if none was passed on opening; or the settings passed,
                None to go by `recorded`.
            name: The leg's name, for messages.
            place: The collection, for messages.

        Raises:
            FingerprintError: If what is given would represent texts differently.
            IndexStateError: If `recorded` is not what `identity` returns.
        """

    @abstractmethod
    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> Any:
        """Represents documents, as the codec takes them. Texts are never empty; there may be none."""

    def check_vectors(self, vectors: Any, texts: Sequence[str]) -> None:
        """Raises for vectors that `represent` could not take; only if there is an encoder.

        Args:
            vectors: As the encoder returns them for `texts`.
            texts: Documents, none of them empty.

        Raises:
            InvalidArgumentError: If they cannot be stored or searched with.
        """
        raise NotImplementedError

    def represent(self, vectors: Any, texts: Sequence[str]) -> Any:
        """Returns what `encode_documents` makes of vectors that the encoder has returned; only if there is one.

        Args:
            vectors: As the encoder returns them for `texts`.
            texts: Documents, none of them empty.

        Raises:
            InvalidArgumentError: As of `check_vectors`.
        """
        raise NotImplementedError

    @abstractmethod
    def encode_queries(self, texts: Sequence[str]) -> list[Any]:
        """Represents queries, one entry per query. Texts are never empty."""

    def concat(self, parts: Sequence[Any]) -> Any:
        """Joins decoded representations of at least one segment; by default lists of documents."""
        return [document for part in parts for document in part]

    def prepare(self, query: Any, slices: Sequence[SegmentSlice]) -> Any:
        """Adds what a query needs to know about the whole collection; by default nothing.

        Args:
            query: From `encode_queries`.
            slices: All segments, with the rows whose documents still exist.
        """
        return query

    @abstractmethod
    def search(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """Scores documents for prepared queries.

        A score must depend on the query and the document alone, to the last bit.

        Args:
            queries: From `prepare`.
            slices: The documents to choose from.
            k: How many of them are wanted.
            exact: False allows missing some of the k best; scores are the same either way.

        Yields:
            For each query the scores of the documents of all slices, in order. −inf for a document that does not
            match, and optionally for one that is not among the k best. Shape: (documents of all slices,).
        """

    @abstractmethod
    def max_score(self, query: Any) -> float:
        """The score of a perfect match with a prepared query; relevance is a fraction of it."""

    def confidence(self, query: Any) -> float:
        """Returns how far this leg is to be trusted for a prepared query, against 1 for any other; by default 1.

        The default fusion multiplies the leg's weight by it. For what the leg knows about the query itself, such as an
        identifier that a document is filed under.
        """
        return 1.0

    @abstractmethod
    def similarities(self, vectors: Any) -> Scores:
        """Compares decoded documents pairwise; 1 for equal ones. Shape: (n, n)."""

    def explain(self, asked: str, query: Any, document: str, vectors: Any) -> LegExplanation:
        """Returns what the score of a document consists of; by default that this leg does not tell.

        Args:
            asked: The query as text.
            query: The same from `prepare`.
            document: The document as text.
            vectors: The same as the codec decodes it: a batch of one. None for a model-free leg.
        """
        return LegExplanation("other", None, note=UNTOLD)

    def query_from_vector(self, vector: Sequence[float]) -> Any:
        """Checks a query vector and returns it as `encode_queries` would; only if `takes_vectors`.

        Raises:
            InvalidArgumentError: If it does not fit this leg.
        """
        raise NotImplementedError


class EncoderLeg(Leg):
    """A leg whose vectors come from an encoder.

    Args:
        encoder: Of the family the leg is registered for.
        codec: One of the codecs the leg is registered with.
    """

    encoder: Encoder[Any]

    def __init__(self, encoder: Encoder[Any], codec: Any) -> None:
        super().__init__(codec)
        self.encoder = encoder  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed: never None here

    def identity(self) -> dict[str, Any]:
        """The encoder's fingerprint, and how to load it again."""
        return {"fingerprint": self.encoder.fingerprint.to_dict(), "load": self.encoder.load_arguments}

    @classmethod
    def reopen(cls, codec: Codec, recorded: Mapping[str, Any], given: Any, *, name: str, place: str) -> Self:
        """As `Leg.reopen`; checks that the encoder is the recorded one."""
        try:
            built = Fingerprint.from_dict(recorded["fingerprint"])
        except (KeyError, ValueError) as error:
            raise damaged_entry(name, place, "fingerprint") from error
        if differences := given.differences(built):
            field, (was, now) = next(iter(differences.items()))
            raise FingerprintError(
                f"{place}의 '{name}' 벡터는 다른 인코더({built.model})로 만들었습니다. 다른 항목: "
                f"{', '.join(differences)}. 예: {field} — 색인할 때 {was!r}, 지금 {now!r}. 같은 모델과 설정으로 열거나 "
                "새 폴더에 다시 색인하세요.",
                f"The '{name}' vectors of {place} were made by another encoder ({built.model}). Fields that differ: "
                f"{', '.join(differences)}; {field} was {was!r} and is now {now!r}. Open it with the same model and "
                "settings, or index again into a new folder.",
            )
        return cls(given, codec)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> Any:
        """As the encoder returns them, checked."""
        return self.represent(self.encoder.encode_documents(texts, show_progress=show_progress), texts)

    def score(self, query: Any, vectors: Any) -> Scores:
        """Scores some documents as the codec decodes them, for a prepared query. Shape: (documents,).

        By default from the codec's arrays of them.
        """
        count = len(vectors) if isinstance(vectors, list) else vectors.shape[0]
        part = SegmentSlice(self.codec.encode(vectors), np.arange(count))
        return next(self.search([query], [part], count, exact=True))

    def check_vectors(self, vectors: Any, texts: Sequence[str]) -> None:
        """As `Leg.check_vectors`."""
        self._checked(vectors, len(texts))

    def represent(self, vectors: Any, texts: Sequence[str]) -> Any:
        """As `Leg.represent`."""
        return self._checked(vectors, len(texts))

    def _checked(self, vectors: Any, count: int) -> Any:
        """Checks what the encoder returned for some texts, and brings it into the form that the leg works with.

        Raises:
            InvalidArgumentError: If it cannot be stored or searched with.
        """
        return vectors

    def encode_queries(self, texts: Sequence[str]) -> list[Any]:
        """A batch of one per query."""
        vectors = self._checked(self.encoder.encode_queries(texts), len(texts))
        return [vectors[index : index + 1] for index in range(len(texts))] if len(texts) != 1 else [vectors]


class ModelFreeLeg(Leg):
    """A leg without an encoder. A subclass takes its settings as keywords after the codec.

    Args:
        codec: One of the codecs the leg is registered with.

    Attributes:
        query_settings: Names of the settings that change queries alone; they may be given anew on opening.
    """

    query_settings: ClassVar[frozenset[str]] = frozenset()

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings as JSON values, for the manifest; legs of equal settings represent documents equally."""
        return {}

    @property
    def arguments(self) -> dict[str, Any]:
        """The keywords that make an equal leg in this process or when unpickling."""
        return self.settings

    def identity(self) -> dict[str, Any]:
        """The settings."""
        return {"settings": self.settings}

    @classmethod
    def reopen(cls, codec: Codec, recorded: Mapping[str, Any], given: Any, *, name: str, place: str) -> Self:
        """As `Leg.reopen`; settings that are not given, or None, are taken from `recorded`."""
        settings = recorded.get("settings")
        known = list(inspect.signature(cls).parameters)[1:]  # after the codec
        if not isinstance(settings, dict) or settings.keys() - set(known):
            raise damaged_entry(name, place, "settings")
        own = {field: value for field, value in (given or {}).items() if value is not None}
        leg = cls(codec, **(settings | own))
        for field, now in leg.settings.items():
            was = settings.get(field)
            if was != now and field not in cls.query_settings:
                raise FingerprintError(
                    f"{place}의 '{name}' 색인은 {field}={was!r}(으)로 만들었는데 {now!r}을(를) 넣었습니다. "
                    f"{field}을(를) 빼고 열거나 새 폴더에 다시 색인하세요.",
                    f"The '{name}' index of {place} was made with {field}={was!r}, not {now!r}. Leave {field} out, "
                    "or index again into a new folder.",
                )
        return leg


def damaged_entry(name: str, place: str, field: str) -> IndexStateError:
    """Returns the error for a manifest entry that is not what `Leg.identity` returns.

    Args:
        name: The leg's name.
        place: The collection.
        field: The part of the entry.
    """
    return IndexStateError(
        f"{place}의 설정 'legs'에서 '{name}'의 {field} 항목이 KoRAG가 적는 것과 다릅니다. 손상되었거나 누군가 고쳤을 "
        "수 있어 열지 않습니다. 아무것도 바꾸지 않았습니다. 백업에서 폴더를 되살리거나 문서를 새 폴더에 다시 "
        "색인하세요.",
        f"In the settings of {place}, the {field} of '{name}' in 'legs' is not what KoRAG writes. It may have been "
        "damaged or altered, so the collection is not opened. Nothing was changed; restore the folder from a backup, "
        "or index the documents again into a new folder.",
    )


ScoreRows = Callable[[Arrays, Any, Ints], Scores]
"""``score(arrays, query, rows)`` scores some rows of one segment."""


def score_all(
    score: ScoreRows, queries: Sequence[Any], slices: Sequence[SegmentSlice], *, threads: bool = False
) -> Iterator[Scores]:
    """`Leg.search` by scoring every document.

    Args:
        score: Scores some rows of one segment.
        queries: From `Leg.prepare`.
        slices: The documents to choose from.
        threads: Score segments of a large collection on all cores; only pays for work done outside Python's lock.
    """
    firsts = np.cumsum([0, *(len(part.rows) for part in slices)]).tolist()
    run = run_all if threads and firsts[-1] > THREADS_FROM else run_here
    for query in queries:
        scores = np.empty(firsts[-1], np.float32)

        def work(number: int, query: Any = query, scores: Scores = scores) -> None:
            part = slices[number]
            scores[firsts[number] : firsts[number + 1]] = score(part.arrays, query, part.rows)

        run(work, range(len(slices)))
        yield scores
