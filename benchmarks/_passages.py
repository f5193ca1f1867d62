"""Token vectors of real Korean passages, and of any number of further documents cut from them; needs numpy alone.

Passages are windows of up to 520 characters over statute articles, court holdings, documentation and Wikipedia, encoded
once by mini-colbert into a folder: ``passages.json``, the texts; ``tok_000.npy`` and ``len_000.npy``, the float16 token
vectors of the first 10,000 and how many each has, and so on; ``queries.npy`` and ``queries.json``, real questions of 32
tokens.

Beyond those, a document is a window over two neighbouring passages: of the tokens of one, the first quarter (half,
three quarters) is left out, and as much of the next one is added. Its vectors are real ones, without noise, but each
occurs in up to four documents, so that the best ten of a query are harder to tell apart than those of real passages.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUERY_TOKENS, DIM = 32, 128
CHUNK = 10_000
"""Passages of a file."""
LONGEST, SHORTEST = 520, 120
"""Characters of a passage."""
LAPS = 4
"""Times that the passages are gone through, each a quarter of a passage later than the one before."""
QUESTIONS = 400
TEXTS = (
    ("text/statute_articles.parquet", "text"),
    ("train/prec_issue_holding.parquet", "positive"),
    ("train/msdocs_ko_title_section.parquet", "positive"),
    ("train/tydiqa_ko.parquet", "positive"),
)
"""Files below ``--data`` and their columns."""
QUERIES = ("train_mix/pairs.parquet", "query")

Halves = NDArray[np.float16]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Passages:
    """Documents as token vectors, mapped from a folder.

    Args:
        folder: As `encode` fills it.
        count: Number of documents; up to `LAPS` times the real passages.

    Attributes:
        count: As given.
        real: Number of real passages, the first documents.

    Raises:
        SystemExit: If the folder is empty, or there are too few passages.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self.count, self.real = folder, count, _real(folder)
        if count > LAPS * self.real:
            raise SystemExit(f"{count:,} documents: {self.real:,} passages make at most {LAPS * self.real:,}.")
        self._mapped: dict[int, tuple[Halves, list[Ints]]] = {}

    def file(self, number: int) -> tuple[Halves, list[Ints]]:
        """Maps a file.

        Args:
            number: The file.

        Returns:
            Its tokens, shape (tokens, dim), and for each of `LAPS` laps the edges of the documents, shape (passages of
            the file + 1,).

        Raises:
            SystemExit: If it is missing.
        """
        if number not in self._mapped:
            path = tokens_file(self._folder, number)
            if not path.exists():
                raise SystemExit(f"{path} is missing; give --data, and it is made.")
            bounds = np.cumsum([0, *np.load(lengths_file(self._folder, number))])
            self._mapped[number] = np.load(path, mmap_mode="r"), [_edges(bounds, lap) for lap in range(LAPS)]
        return self._mapped[number]

    def document(self, number: int) -> Halves:
        """Shape: (tokens, dim)."""
        lap, own = divmod(number, self.real)
        chunk, row = divmod(own, CHUNK)
        tokens, laps = self.file(chunk)
        start, end = laps[lap][row : row + 2]
        return np.array(tokens[start:end])

    @cached_property
    def lengths(self) -> Ints:
        """Tokens of each document. Shape: (count,)."""
        files = [self.file(number)[1] for number in range(chunks(min(self.count, self.real)))]
        laps = range(-(-self.count // self.real))
        return np.concatenate([np.diff(laps_of[lap]) for lap in laps for laps_of in files])[: self.count]


def queries(folder: Path, count: int) -> Floats:
    """Returns queries. Shape: (count, QUERY_TOKENS, DIM)."""
    vectors: Floats = np.load(folder / "queries.npy")
    if count > len(vectors):
        raise SystemExit(f"--queries {count}: there are {len(vectors)}.")
    return vectors[:count]


def encode(folder: Path, data: Path, count: int) -> None:
    """Encodes what is missing in a folder; a run that was stopped is continued.

    Args:
        folder: Where the vectors are kept.
        data: Folder with `TEXTS` and `QUERIES`.
        count: Number of documents that are wanted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "passages.json").exists():
        _write(folder / "passages.json", _passages(data))
    passages = _read(folder / "passages.json")
    missing = [
        number for number in range(chunks(min(count, len(passages)))) if not tokens_file(folder, number).exists()
    ]
    if not missing and (folder / "queries.npy").exists():
        return
    from korag import load_encoder

    encoder: Any = load_encoder("mini-colbert")
    if not (folder / "queries.npy").exists():
        questions = _column(data, *QUERIES)
        chosen = [questions[at] for at in np.random.default_rng(1).permutation(len(questions))[:QUESTIONS]]
        _write(folder / "queries.json", chosen)
        _save(folder / "queries.npy", np.stack(encoder.encode_queries(chosen)).astype(np.float32))
    for number in missing:
        vectors = encoder.encode_documents(passages[number * CHUNK : (number + 1) * CHUNK], show_progress=True)
        _save(lengths_file(folder, number), np.array([len(tokens) for tokens in vectors], np.int32))
        # last: it says that all is there
        _save(tokens_file(folder, number), np.concatenate(vectors).astype(np.float16))


def chunks(passages: int) -> int:
    """Returns in how many files passages are."""
    return -(-passages // CHUNK)


def tokens_file(folder: Path, number: int) -> Path:
    """Returns the file of the token vectors of a chunk."""
    return folder / f"tok_{number:03d}.npy"


def lengths_file(folder: Path, number: int) -> Path:
    """Returns the file of the lengths of a chunk."""
    return folder / f"len_{number:03d}.npy"


def _real(folder: Path) -> int:
    """Number of passages: of the vectors if the last file, which is not full, is there; otherwise of the texts."""
    for file in sorted(folder.glob("len_*.npy"))[-1:]:
        if (rows := len(np.load(file, mmap_mode="r"))) < CHUNK:
            return int(file.stem.removeprefix("len_")) * CHUNK + rows
    return len(_read(folder / "passages.json"))


def _edges(bounds: Ints, lap: int) -> Ints:
    """Where the documents of a lap begin and end; the last one of a file has nothing after it to go on with."""
    edges = bounds.copy()
    edges[:-1] += np.diff(bounds) * lap // LAPS
    return edges


def _passages(data: Path) -> list[str]:
    """Windows over all texts, in an order that mixes them."""
    texts = dict.fromkeys(text for source in TEXTS for text in _column(data, *source) if text and len(text) >= SHORTEST)
    windows = (text[start : start + LONGEST] for text in texts for start in range(0, len(text), LONGEST))
    passages = list(dict.fromkeys(window for window in windows if len(window) >= SHORTEST))
    return [passages[at] for at in np.random.default_rng(0).permutation(len(passages))]


def _column(data: Path, file: str, column: str) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_table(data / file, columns=[column])[column].to_pylist())


def _read(path: Path) -> list[str]:
    if not path.exists():
        raise SystemExit(f"{path} is missing; give --data, the folder with {TEXTS[0][0]} and others, and it is made.")
    return list(json.loads(path.read_text(encoding="utf-8")))


def _write(path: Path, texts: list[str]) -> None:
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(texts, ensure_ascii=False), encoding="utf-8")
    unfinished.replace(path)


def _save(path: Path, array: NDArray[Any]) -> None:
    unfinished = path.with_name("unfinished-" + path.name)
    np.save(unfinished, array)
    unfinished.replace(path)
