"""Checks of the arguments of `korag.load_encoder` against a checkpoint."""

from __future__ import annotations

import numbers
from typing import get_args

from korag.checkpoints.checkpoint import Checkpoint
from korag.checkpoints.settings import find_adapter
from korag.checks import check_count
from korag.encoders.options import PoolingMode, check_length
from korag.errors import CheckpointError, InvalidArgumentError, UnknownDimError
from korag.remote.options import ServerOptions, is_url

MIN_LENGTH = 3
"""[CLS], one token and [SEP]; below that, tokenizers do not truncate at all."""


def check_prompts(**prompts: object) -> None:
    """Checks that prompts are strings, or None."""
    for name, prompt in prompts.items():
        if not isinstance(prompt, str | None):
            raise InvalidArgumentError(
                f"{name}={prompt!r:.80}: 문자열이어야 합니다. 프롬프트 없이 쓰려면 ''을 넣으세요.",
                f"{name}={prompt!r:.80} is invalid; it must be a string, '' for no prompt.",
            )


def check_adapter(checkpoint: Checkpoint, base: Checkpoint) -> None:
    """Checks that an adapter is one of a dense model, and directly of its base.

    Otherwise, sentence-transformers would look for the path or Hub id in ``adapter_config.json`` itself.
    """
    if checkpoint.family == "dense" and find_adapter(base.source.folder) is None:
        return
    raise CheckpointError(
        f"'{checkpoint.source.name}'은(는) dense 모델의 어댑터가 아니거나 다른 어댑터의 어댑터입니다. 베이스에 병합해 "
        "저장한 폴더를 쓰세요(peft의 merge_and_unload).",
        f"'{checkpoint.source.name}' is not an adapter of a dense model, or one of another adapter. Merge it into its "
        "base (peft's merge_and_unload), save that, and load the saved folder.",
    )


def check_length_of_both(checkpoint: Checkpoint, max_length: int | None) -> None:
    """Checks that a Router's backbone for queries can have `max_length` too, where it is the length of both."""
    limit = checkpoint.query_positions
    is_of_both = checkpoint.family != "late_interaction" and checkpoint.query_length == checkpoint.document_length
    if is_of_both and max_length is not None and limit is not None and max_length > limit:
        raise InvalidArgumentError(
            f"max_length={max_length}: 이 모델은 질문을 {limit}토큰까지만 읽을 수 있습니다. {limit} 이하의 "
            "query_length=를 함께 지정하세요.",
            f"max_length={max_length} is also the length of queries, of which this model can read {limit} tokens at "
            f"most. Pass a query_length= of at most {limit} as well.",
        )


def check_query_length(checkpoint: Checkpoint, query_length: int | None, prompt: str | None) -> None:
    """Checks that a length has room for a token besides the prompt, and that the model can have it."""
    at_least = MIN_LENGTH + bool(checkpoint.query_prompt if prompt is None else prompt)
    check_length(query_length, name="query_length", limit=checkpoint.query_positions, at_least=at_least)
    if query_length is not None and query_length < checkpoint.least_query_length:
        raise InvalidArgumentError(
            f"query_length={query_length}: 이 모델은 모든 질문을 {checkpoint.least_query_length}토큰까지 채웁니다. "
            "그보다 짧을 수 없습니다.",
            f"query_length={query_length} is invalid: this model fills every query up to "
            f"{checkpoint.least_query_length} tokens, so it cannot be shorter.",
        )


def check_pooling(checkpoint: Checkpoint, pooling: PoolingMode | None) -> None:
    """Checks that a pooling is given where only the caller can know it, and nowhere else."""
    name = checkpoint.source.name
    if pooling is not None and checkpoint.bare_pooling is None:
        raise InvalidArgumentError(
            f"pooling={pooling!r}: '{name}'에는 쓸 수 없습니다. pooling=은 풀링 방식이 파일에 없는(modules.json이 "
            f"없는) dense 모델에만 넣습니다. 이 {checkpoint.family} 모델은 스스로 정하니 pooling=을 빼세요.",
            f"pooling={pooling!r} is invalid for '{name}': it is for dense models whose files do not say the pooling "
            f"(no modules.json). This {checkpoint.family} model says itself how its vectors are made; leave out "
            "pooling=.",
        )
    if pooling is None and checkpoint.bare_pooling is not None and checkpoint.base is not None:
        choices = ", ".join(map(repr, get_args(PoolingMode)))
        raise CheckpointError(
            f"어댑터 '{name}'에도 베이스 '{checkpoint.base.source.name}'에도 modules.json이 없어서 풀링 방식을 알 수 "
            f"없습니다. 어댑터를 학습한 방식을 pooling=으로 지정하세요: {choices}.",
            f"Neither the adapter '{name}' nor its base '{checkpoint.base.source.name}' has a modules.json, which says "
            f"the pooling. Pass the one that the adapter was trained with as pooling=: {choices}.",
        )


def check_dim(checkpoint: Checkpoint, dim: int) -> int:
    """Returns the size of vectors that a caller wants, as an int, after checking that the model has it."""
    name = checkpoint.source.name
    if not checkpoint.dims:  # compared with the weights when they are loaded
        check_count("dim", dim, at_least=1)
        return int(dim)
    largest = max(checkpoint.dims)
    is_whole = isinstance(dim, numbers.Integral) and not isinstance(dim, bool)
    if checkpoint.family == "dense":
        if is_whole and 0 < dim <= largest:
            return int(dim)
        raise UnknownDimError(
            f"dim={dim!r:.80}: '{name}'의 벡터는 {largest}차원입니다. 1 이상 {largest} 이하의 정수를 넣으세요.",
            f"dim={dim!r:.80} is invalid: the vectors of '{name}' have {largest} dimensions; pass an integer from 1 to "
            f"{largest}.",
        )
    if is_whole and dim in checkpoint.dims:
        return int(dim)
    dims = ", ".join(map(str, checkpoint.dims))
    raise UnknownDimError(
        f"dim={dim!r}: '{name}'에 없는 차원입니다. 쓸 수 있는 차원: {dims}.",
        f"'{name}' has no dim={dim!r}; available: {dims}.",
    )


def check_server_arguments(model: object, *, like: object, canaries: object, server: object) -> None:
    """Checks that the arguments about a server come with its address, and that it is said what it serves."""
    if server is not None and not isinstance(server, ServerOptions):
        kind = type(server).__name__  # a dict may hold a key
        raise InvalidArgumentError(
            f"server에 {kind}을(를) 넣었습니다. korag.ServerOptions(api=..., api_key=...)를 넣으세요.",
            f"server is a {kind}; pass korag.ServerOptions(api=..., api_key=...).",
        )
    if is_url(model):
        if like is None:
            raise InvalidArgumentError(
                "서버의 주소만으로는 어떤 모델인지 알 수 없습니다. like=에 서버가 제공하는 모델의 이름이나 경로를 "
                "넣으세요. 프롬프트와 길이를 거기서 읽고, 서버의 벡터를 그 모델의 것과 비교합니다.",
                "The address of a server does not say which model it serves; pass its name or path as like=. Prompts "
                "and lengths are read from it, and the server's vectors are compared with its own.",
            )
        return
    for name, value in {"like": like, "canaries": canaries, "server": server}.items():
        if value is not None:
            raise InvalidArgumentError(
                f"{name}=은(는) model이 서버의 주소(https://...)일 때만 씁니다. 빼거나 주소를 넣으세요.",
                f"{name}= is only for the address of a server (https://...) as the model; leave it out, or pass an "
                "address.",
            )
