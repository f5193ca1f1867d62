"""Warnings about what a model probably needs and its folder does not say: prompts and pooling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from korag.checkpoints.checkpoint import Checkpoint
from korag.checkpoints.presets import PRESETS
from korag.checkpoints.prompts import other_prompts
from korag.checkpoints.settings import FolderSettings
from korag.logs import logger

_CARD_BYTES = 64 * 2**10
"""Bytes of a README.md that are read: its metadata and its examples come first."""
_E5 = re.compile(r"(?:^|[^a-z0-9]|ko)e5(?![0-9])", re.IGNORECASE)
_INSTRUCT = re.compile(r"(?<![a-z])instruct", re.IGNORECASE)
_KINDS = (
    (_INSTRUCT, r"query_prompt='Instruct: <task>\nQuery: '", "document_prompt=''"),
    (_E5, "query_prompt='query: '", "document_prompt='passage: '"),
)
"""Names of models that need prompts, and what those usually take. E5 has instruct versions, so it comes last."""
_METADATA = re.compile(r"---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_BASES = re.compile(r"^base_model:(.*(?:\n[ \t]*- .*)*)", re.MULTILINE)
_TITLE = re.compile(r"^#{1,2}[ \t]+(.+)$", re.MULTILINE)
_SIDES = {
    "query": ("질문", re.compile("질의|질문|검색어|query|queries|question", re.IGNORECASE)),
    "document": ("문서", re.compile("문서|본문|문단|지문|doc|passage|corpus|context", re.IGNORECASE)),
}
"""For each side, its Korean name and the words in the names of prompts that seem meant for it."""
_EXAMPLE = re.compile(r"[\"'](query: |passage: |Instruct: )")
"""A text in an example of a card. Other mentions of E5 are mostly rows in tables of results."""
_IN_EXAMPLE = {"query: ": "e5", "passage: ": "e5", "Instruct: ": "instruct"}


def warn_of_missing_prompts(checkpoint: Checkpoint) -> None:
    """Logs a warning if a dense model has no prompts but probably needs some.

    Args:
        checkpoint: A checkpoint whose prompts the caller did not give.
    """
    base = checkpoint.base
    settings = FolderSettings(checkpoint.source.folder, base.source.folder if base else None)
    others = [name for name, prompt in other_prompts(settings.model.get("prompts") or {}).items() if prompt]
    used = {"query": checkpoint.query_prompt, "document": checkpoint.document_prompt}
    if others and not any(used.values()):
        _warn_of_unused(
            checkpoint, others, "질문용이나 문서용", "queries or documents", "query_prompt=, document_prompt="
        )
    elif any(used.values()):
        for side, (korean, pattern) in _SIDES.items():
            if not used[side] and (meant := [name for name in others if pattern.search(name)]):
                _warn_of_unused(checkpoint, meant, f"{korean}용", side, f"{side}_prompt=")
    elif checkpoint.family == "dense" and (found := _find(checkpoint, settings)):
        sign, query, document = found
        logger.warning(
            "'%s'에는 저장된 프롬프트가 없지만, %.100r(으)로 보아 프롬프트가 필요한 모델일 수 있습니다. 프롬프트 없이 "
            "쓰면 오류 없이 결과만 나빠집니다. 모델 카드를 보고 지정하세요. 이런 모델은 보통 %s, %s입니다(필요 없으면 "
            "둘 다 ''). / '%s' saves no prompts, but %.100r suggests that it needs them; without them, results are "
            "poor without any error. See its card; such models usually take %s, %s (pass '' for none).",
            checkpoint.source.name, sign, query, document, checkpoint.source.name, sign, query, document,
        )  # fmt: skip


def _warn_of_unused(checkpoint: Checkpoint, names: list[str], korean: str, english: str, keywords: str) -> None:
    listed = ", ".join(f"{name!r:.60}" for name in names[:8])
    logger.warning(
        "'%s'에 저장된 프롬프트(%s)는 %s으로 알려진 이름이 아니어서 쓰지 않습니다. %s로 지정하세요(필요 없으면 ''). / "
        "The prompts saved in '%s' (%s) have no name known to be for %s, so they are not used. Pass %s ('' for none).",
        checkpoint.source.name, listed, korean, keywords, checkpoint.source.name, listed, english, keywords,
    )  # fmt: skip


def warn_of_missing_pooling(checkpoint: Checkpoint) -> None:
    """Logs a warning if no file of a dense model says its pooling.

    Args:
        checkpoint: A checkpoint whose pooling the caller did not give.
    """
    if checkpoint.bare_pooling is not None:
        logger.warning(
            "'%s'에는 풀링 방식이 없어(modules.json 없음) sentence-transformers처럼 %s 풀링을 씁니다. 모델이 다른 "
            "방식으로 학습되었다면 오류 없이 결과만 나빠지니, 모델 카드를 보고 pooling='cls', 'mean', 'max', "
            "'lasttoken' 가운데 하나를 지정하세요. / No file of '%s' says the pooling (no modules.json), so it is %r, "
            "as in sentence-transformers. If the model was trained otherwise, results are poor without any error: see "
            "its card and pass pooling='cls', 'mean', 'max' or 'lasttoken'.",
            checkpoint.source.name, checkpoint.bare_pooling, checkpoint.source.name, checkpoint.bare_pooling,
        )  # fmt: skip


def _find(checkpoint: Checkpoint, settings: FolderSettings) -> tuple[str, str, str] | None:
    """Returns what suggests prompts, and the arguments that set them; None if nothing does."""
    own = _own_names(checkpoint)
    known = {_last(name): preset for name, preset in PRESETS.items() if preset.family == "dense"}
    for name in own:
        if (preset := known.get(_last(name))) is not None:
            if not (preset.query_prompt or preset.document_prompt):
                return None  # known to need none
            return preset.name, f"query_prompt={preset.query_prompt!r}", f"document_prompt={preset.document_prompt!r}"
    for sign in (*own, *_origins(checkpoint, settings), *_card_signs(checkpoint.source.folder)):
        for pattern, query, document in _KINDS:
            if pattern.search(sign):
                return sign, query, document
    return None


def _own_names(checkpoint: Checkpoint) -> list[str]:
    """Returns the model's name, its folder's, and the one that a folder of the Hub's cache stands for."""
    folder = checkpoint.source.folder
    cached = [part.replace("--", "/") for part in folder.parts if part.startswith("models--")]
    return [_last(name) for name in (checkpoint.source.name, folder.name, *cached)]


def _origins(checkpoint: Checkpoint, settings: FolderSettings) -> Iterator[str]:
    """Yields the names of the models that this one was made from, as its settings give them."""
    if checkpoint.base is not None:
        yield _last(checkpoint.base.source.name)
    for value in (settings.backbone.get("_name_or_path"), (settings.adapter or {}).get("base_model_name_or_path")):
        if isinstance(value, str):
            yield value


def _card_signs(folder: Path) -> Iterator[str]:
    """Yields the base models and the title of a model's card, and what its examples begin with."""
    try:
        with (folder / "README.md").open("rb") as file:
            card = file.read(_CARD_BYTES).decode("utf-8", "replace")
    except OSError:
        return
    metadata = _METADATA.match(card)
    if metadata is not None:
        yield from (name.strip("-'\" \t\r") for bases in _BASES.findall(metadata[1]) for name in bases.split("\n"))
    if (title := _TITLE.search(card)) is not None:
        yield title[1].strip()
    if (example := _EXAMPLE.search(card)) is not None:
        yield _IN_EXAMPLE[example[1]]


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()
