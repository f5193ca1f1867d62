"""Checks a model folder before any library reads it: its files, and what its settings say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from korag.checkpoints import rules
from korag.checkpoints.files import LARGEST_FILE, broken, model_files, parse_json
from korag.errors import CheckpointError

_Checker = Callable[[Any], Iterator[rules.Problem]]
_CHECKERS: tuple[tuple[re.Pattern[str], _Checker], ...] = tuple(
    (re.compile(name), checker)
    for name, checker in (
        (r"modules\.json", rules.check_modules),
        (r"router_config\.json", rules.check_router),
        (r"config_sentence_transformers\.json", rules.check_settings),
        (r"sentence_[\w-]+_config\.json", rules.check_transformer),
        (r"artifact\.metadata", rules.check_colbert),
        (r"tokenizer_config\.json", rules.check_tokenizer),
        (r"adapter_config\.json", rules.check_adapter),
        (r"config\.json", rules.check_config),
        (r".+\.index\.json", rules.check_index),
    )
)
"""Rules of the settings files, by their names."""
_WEIGHTS = (".safetensors", ".bin", ".pt")
_CODE = re.compile(r"(^|\.)(type|types|.*activation.*)$")
"""Where settings name classes."""


def check_folder(folder: Path, *, remote_code: bool) -> None:
    """Checks a model folder.

    Args:
        folder: The folder.
        remote_code: The caller lets the folder's own code run. Only its files are checked then, since such models have
            settings of their own.

    Raises:
        CheckpointError: If a file is not an ordinary one, too large or not JSON, or a setting is not allowed.
    """
    for path in model_files(folder):
        if path.suffix not in _WEIGHTS and (size := path.stat().st_size) > LARGEST_FILE:
            raise broken(path, f"{size:,} bytes; the limit is {LARGEST_FILE:,}")
        for name, checker in _CHECKERS:
            if name.fullmatch(path.name):
                settings = parse_json(path)
                if not isinstance(settings, list if path.name == "modules.json" else dict):
                    raise broken(path, "not of the expected kind")
                if not remote_code and (problem := next(checker(settings), None)):
                    raise _not_allowed(path, *problem)


def _not_allowed(path: Path, place: str, value: object) -> CheckpointError:
    if isinstance(value, str) and _CODE.search(place):
        return CheckpointError(
            f"'{path}'의 {place} 값 {value!r:.80}은(는) KoRAG가 아는 클래스가 아니어서, 불러오면 체크포인트가 고른 "
            "코드를 실행하게 됩니다. 그 코드를 믿을 수 있을 때만 load_encoder(…, "
            "trust_remote_code=True)로 불러오세요(재순위 모델은 CrossEncoderReranker).",
            f"In '{path}', {place} is {value!r:.80}, which is not a class that KoRAG knows: using it means running "
            "code that the checkpoint chose. Only if you trust it, load it with load_encoder(…, "
            "trust_remote_code=True) (rerankers: CrossEncoderReranker).",
        )
    if isinstance(value, int | float):
        return CheckpointError(
            f"'{path}'의 {place} 값 {value!r:.80}은(는) 허용되지 않습니다. 파일이 손상되었거나 변조되었을 수 있습니다. "
            "모델의 출처를 확인하고 다시 다운로드하거나, 그 항목을 지우고 쓰세요.",
            f"In '{path}', {place} is {value!r:.80}, which is not allowed. The file may be damaged or have been "
            "tampered with: check where the model comes from and download it again, or remove the entry.",
        )
    return CheckpointError(
        f"'{path}'의 {place} 값 {value!r:.80}은(는) KoRAG가 체크포인트에서 받아들이지 않는 설정입니다. 파일이 "
        "손상되었거나 변조되었을 수 있으니 모델의 출처를 확인하고 다시 다운로드하거나, 그 항목을 지우고 쓰세요. 그 "
        "설정이 필요하고 모델의 코드까지 믿을 수 있다면 trust_remote_code=True를 넣으세요.",
        f"In '{path}', {place} is {value!r:.80}, a setting that KoRAG does not take from a checkpoint. The file may be "
        "damaged or have been tampered with: check where the model comes from and download it again, or remove the "
        "entry. If the model needs it and you trust the model with its code, pass trust_remote_code=True.",
    )
