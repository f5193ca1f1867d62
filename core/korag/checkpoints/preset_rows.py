"""The known models, one row each, looked up on 2026-11-28. `make models-page` writes them into docs/models.md.

A fact that could not be looked up is left out. Prompts are copied to the character from the model's card, from its
``config_sentence_transformers.json`` or from the registry of mteb: they become part of vectors and fingerprints (see
`Preset`). Parameter counts are those of the card or of the same registry.
"""

from __future__ import annotations

from korag.checkpoints.preset import Benchmark, Figure, Preset

LOOKED_UP = "2026-11-28"
"""Date of the facts."""

_HUB = "https://huggingface.co/"
_KURE = "https://github.com/nlpai-lab/KURE"
_RESULTS = "https://github.com/embeddings-benchmark/results"
_CARDS = "core/korag/checkpoints/bundled/"
_A_X = "skt/A.X-Encoder-base"
_ARCTIC = "Snowflake/snowflake-arctic-embed-l-v2.0"

KOR9 = Benchmark(
    mark="a", name="MTEB(kor, v2) retrieval", korean="MTEB(kor, v2) 검색 9개", published="2026-10-01",
    about="mean nDCG@10 of nine Korean tasks (AutoRAG, Ko-StrategyQA, PublicHealthQA, LawIRKo, SQuADKorV1, Belebele "
    "ko-ko, Mr. TyDi, MIRACL, and MLDR as the mean of dev and test), measured by the authors of KURE or taken by them "
    "from the results repository of mteb",
    source=_KURE,
)  # fmt: skip
SPLADE7 = Benchmark(
    mark="b", name="seven Korean sets of the card of splade-ko-v1", korean="splade-ko-v1 카드의 7개",
    published="undated",
    about="mean nDCG@10 of AutoRAG, Ko-StrategyQA, Belebele, MIRACL, Mr. TyDi, MLDR and PublicHealthQA in Korean",
    source=_HUB + "yjoonjang/splade-ko-v1",
)  # fmt: skip
KURE8 = Benchmark(
    mark="c", name="MTEB-ko-retrieval of 2024", korean="2024년 MTEB-ko-retrieval 8개", published="2024-12-21",
    about="mean nDCG@10 of eight Korean tasks: those of b, and XPQA",
    source=_KURE + "/blob/b594bba/README.md",
)  # fmt: skip
TELEPIX6 = Benchmark(
    mark="d", name="six Korean sets of TelePIX", korean="TelePIX의 6개", published="2025",
    about="mean nDCG@10 of Ko-StrategyQA, AutoRAG, MIRACL, PublicHealthQA, Belebele and MLDR in Korean",
    source=_HUB + "telepix/PIXIE-Spell-Preview-1.7B",
)  # fmt: skip
RERANK9 = Benchmark(
    mark="e", name="reranking of the nine tasks of a", korean="a의 9개 재순위", published="2026-10-01",
    about="mean nDCG@10 of reranking all relevant documents and the first 50 of BM25 for each query, pairs of up to "
    "8,192 tokens",
    source=_KURE,
)  # fmt: skip
MINI = Benchmark(
    mark="f", name="strategyqa-ko-facts", korean="strategyqa-ko-facts", published="2026",
    about="nDCG@10 of 621 questions over 7,923 documents, measured by KoRAG; BM25 with character bigrams reaches 0.665",
    source="docs/evaluation.md",
)  # fmt: skip
BENCHMARKS = (KOR9, SPLADE7, KURE8, TELEPIX6, RERANK9, MINI)
"""Every benchmark that a row has a figure of."""


def _on(benchmark: Benchmark, value: float, source: str = "") -> Figure:
    return Figure(benchmark=benchmark, value=value, source=source)


_QUERY, _PASSAGE = "query: ", "passage: "
_WEB_SEARCH = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"

_LATE_INTERACTION = (
    Preset(
        name="dragonkue/colbert-ko-0.1b", family="late_interaction", dim=128, dims=(32, 64, 96, 128),
        query_prompt="[Q] ", document_prompt="[D] ", query_length=32, max_length=2048, parameters="149M", base=_A_X,
        licence="Apache-2.0", figures=(_on(KOR9, 0.6776),), source=_HUB + "dragonkue/colbert-ko-0.1b",
        note="the default; one checkpoint with four vector sizes. Its card: nDCG@10 on AutoRAG 0.989, on "
        "Ko-StrategyQA 0.741",
    ),
    Preset(
        name="nlpai-lab/KURE-v2", family="late_interaction", dim=128, query_length=64, max_length=8192,
        parameters="154M", base=_A_X, licence="Apache-2.0", figures=(_on(KOR9, 0.8160),),
        source=_HUB + "nlpai-lab/KURE-v2", note="a head of three layers; Korean and English",
    ),
    Preset(
        name="yjoonjang/colbert-ko-en-v2", family="late_interaction", dim=128, query_length=64, max_length=8192,
        parameters="149M", base=_A_X, licence="Apache-2.0", figures=(_on(KOR9, 0.8063),),
        source=_HUB + "yjoonjang/colbert-ko-en-v2", note="Korean and English",
    ),
    Preset(
        name="lightonai/mLateOn", family="late_interaction", dim=128, max_length=8192, parameters="307M",
        base="lightonai/mLateOn-unsupervised", licence="Apache-2.0", figures=(_on(KOR9, 0.7906),),
        source=_HUB + "lightonai/mLateOn", note="many languages and code; Korean was not among the training languages",
    ),
    Preset(
        name="lightonai/GTE-ModernColBERT-v1", family="late_interaction", dim=128, query_length=32, max_length=300,
        parameters="149M", base="Alibaba-NLP/gte-modernbert-base", licence="Apache-2.0",
        source=_HUB + "lightonai/GTE-ModernColBERT-v1",
        note="trained on English, with documents of 300 tokens (`max_length=` for longer ones); no Korean figure was "
        "found",
    ),
    Preset(
        name="mini-colbert", family="late_interaction", dim=128, dims=(32, 64, 96, 128), query_prompt="[Q] ",
        document_prompt="[D] ", query_length=64, max_length=512, parameters="3.5M",
        base="trained for KoRAG from scratch", licence="Apache-2.0", figures=(_on(MINI, 0.693),),
        source=_CARDS + "mini-colbert/README.md", note="bundled",
    ),
)  # fmt: skip
_DENSE = (
    Preset(
        name="dragonkue/BGE-m3-ko", family="dense", dim=1024, max_length=8192, parameters="568M", base="BAAI/bge-m3",
        licence="Apache-2.0", figures=(_on(KOR9, 0.7547), _on(SPLADE7, 0.7312), _on(KURE8, 0.68748)),
        source=_HUB + "dragonkue/BGE-m3-ko", note="the default",
    ),
    Preset(
        name="dragonkue/snowflake-arctic-embed-l-v2.0-ko", family="dense", dim=1024, query_prompt=_QUERY,
        max_length=8192, parameters="568M", base=_ARCTIC, licence="Apache-2.0", figures=(_on(KOR9, 0.7653),),
        source=_HUB + "dragonkue/snowflake-arctic-embed-l-v2.0-ko",
    ),
    Preset(
        name="telepix/PIXIE-Rune-v1.5", family="dense", dim=1024, query_prompt=_QUERY, max_length=8192,
        parameters="568M", base=_ARCTIC, licence="Apache-2.0", figures=(_on(KOR9, 0.7618),),
        source=_HUB + "telepix/PIXIE-Rune-v1.5", note="Korean and English",
    ),
    Preset(
        name="nlpai-lab/KURE-v1", family="dense", dim=1024, max_length=8192, parameters="568M", base="BAAI/bge-m3",
        licence="MIT", source=_HUB + "nlpai-lab/KURE-v1",
        figures=(_on(KOR9, 0.7616), _on(SPLADE7, 0.7395), _on(KURE8, 0.69473), _on(TELEPIX6, 0.7642)),
    ),
    Preset(
        name="BAAI/bge-m3", family="dense", dim=1024, max_length=8192, parameters="568M", licence="MIT",
        figures=(_on(KOR9, 0.7509), _on(KURE8, 0.68723), _on(TELEPIX6, 0.7483)), source=_HUB + "BAAI/bge-m3",
        note="also sparse and late interaction: `family=`",
    ),
    Preset(
        name="nlpai-lab/KoE5", family="dense", dim=1024,
        query_prompt=_QUERY, document_prompt=_PASSAGE, max_length=512, parameters="560M",
        base="intfloat/multilingual-e5-large", licence="MIT", figures=(_on(KOR9, 0.7337), _on(KURE8, 0.66012)),
        source=_HUB + "nlpai-lab/KoE5",
    ),
    Preset(
        name="Qwen/Qwen3-Embedding-8B", family="dense", dim=4096, query_prompt=_WEB_SEARCH, max_length=32_768,
        parameters="7.6B", licence="Apache-2.0", figures=(_on(KOR9, 0.7826),), source=_HUB + "Qwen/Qwen3-Embedding-8B",
        note="for a GPU",
    ),
    Preset(
        name="Qwen/Qwen3-Embedding-4B", family="dense", dim=2560, query_prompt=_WEB_SEARCH, max_length=32_768,
        parameters="4.0B", licence="Apache-2.0", figures=(_on(KOR9, 0.7737),), source=_HUB + "Qwen/Qwen3-Embedding-4B",
        note="for a GPU",
    ),
    Preset(
        name="Qwen/Qwen3-Embedding-0.6B", family="dense", dim=1024, query_prompt=_WEB_SEARCH, max_length=32_768,
        parameters="596M", licence="Apache-2.0", figures=(_on(TELEPIX6, 0.7215),),
        source=_HUB + "Qwen/Qwen3-Embedding-0.6B",
    ),
    Preset(
        name="dragonkue/multilingual-e5-small-ko-v2", family="dense", dim=384,
        query_prompt=_QUERY, document_prompt=_PASSAGE, max_length=512,
        parameters="118M", base="intfloat/multilingual-e5-small", licence="Apache-2.0",
        figures=(_on(KOR9, 0.6980, f"mean of its nine results in {_RESULTS}, taken by KoRAG in the same way"),),
        source=_HUB + "dragonkue/multilingual-e5-small-ko-v2",
    ),
    Preset(
        name="intfloat/multilingual-e5-large", family="dense", dim=1024,
        query_prompt=_QUERY, document_prompt=_PASSAGE, max_length=512, parameters="560M",
        base="FacebookAI/xlm-roberta-large", licence="MIT", figures=(_on(KURE8, 0.66370),),
        source=_HUB + "intfloat/multilingual-e5-large",
    ),
    Preset(
        name="intfloat/multilingual-e5-large-instruct", family="dense", dim=1024, query_prompt=_WEB_SEARCH + " ",
        max_length=512, parameters="560M", base="FacebookAI/xlm-roberta-large", licence="MIT",
        figures=(_on(KURE8, 0.64451),), source=_HUB + "intfloat/multilingual-e5-large-instruct",
    ),
    Preset(
        name="intfloat/multilingual-e5-base", family="dense", dim=768,
        query_prompt=_QUERY, document_prompt=_PASSAGE, max_length=512, parameters="278M",
        base="FacebookAI/xlm-roberta-base", licence="MIT", figures=(_on(KURE8, 0.63216),),
        source=_HUB + "intfloat/multilingual-e5-base",
    ),
    Preset(
        name="intfloat/multilingual-e5-small", family="dense", dim=384,
        query_prompt=_QUERY, document_prompt=_PASSAGE, max_length=512, parameters="118M",
        base="microsoft/Multilingual-MiniLM-L12-H384", licence="MIT", source=_HUB + "intfloat/multilingual-e5-small",
        note="no complete Korean figure was found",
    ),
    Preset(
        name="jhgan/ko-sroberta-multitask", family="dense", dim=768, max_length=128, parameters="111M",
        base="klue/roberta-base", figures=(_on(KURE8, 0.48687),), source=_HUB + "jhgan/ko-sroberta-multitask",
        note="trained for the similarity of sentences; its card states no licence",
    ),
    Preset(
        name="mini-dense", family="dense", dim=192, query_prompt="[Q] ", document_prompt="[D] ",
        max_length=512, parameters="3.5M", base="trained for KoRAG from scratch", licence="Apache-2.0",
        figures=(_on(MINI, 0.598),), source=_CARDS + "mini-dense/README.md", note="bundled",
    ),
)  # fmt: skip
_SPARSE = (
    Preset(
        name="yjoonjang/splade-ko-v1", family="sparse", dim=50_000, max_length=8192, parameters="149M", base=_A_X,
        licence="Apache-2.0", figures=(_on(SPLADE7, 0.7376),), source=_HUB + "yjoonjang/splade-ko-v1",
        note="the default",
    ),
    Preset(
        name="nlpai-lab/KURE-Sparse-base", family="sparse", figures=(_on(KOR9, 0.7984, "its card"),),
        source=_HUB + "nlpai-lab/KURE-Sparse-base",
        note="runs Python code of its own (`trust_remote_code=True`); Korean and English",
    ),
    Preset(
        name="nlpai-lab/KURE-Sparse-nano", family="sparse", dim=36_282, max_length=8192, parameters="0.1B",
        figures=(_on(KOR9, 0.7716, "its card"),), source=_HUB + "nlpai-lab/KURE-Sparse-nano",
        note="Korean and English",
    ),
    Preset(
        name="opensearch-project/opensearch-neural-sparse-encoding-multilingual-v1", family="sparse", dim=105_879,
        max_length=512, parameters="160M", licence="Apache-2.0", figures=(_on(SPLADE7, 0.5383),),
        source=_HUB + "opensearch-project/opensearch-neural-sparse-encoding-multilingual-v1",
        note="queries are weighted by a table and need no model",
    ),
    Preset(
        name="mini-splade", family="sparse", dim=12_288, query_prompt="[Q] ", document_prompt="[D] ",
        max_length=512, parameters="3.5M", base="trained for KoRAG from scratch", licence="Apache-2.0",
        figures=(_on(MINI, 0.682),), source=_CARDS + "mini-splade/README.md", note="bundled",
    ),
)  # fmt: skip
_CROSS_ENCODER = (
    Preset(
        name="dragonkue/bge-reranker-v2-m3-ko", family="cross_encoder", parameters="568M",
        base="BAAI/bge-reranker-v2-m3", licence="Apache-2.0", figures=(_on(RERANK9, 0.8263),),
        source=_HUB + "dragonkue/bge-reranker-v2-m3-ko", note="the default; a sigmoid brings scores into [0, 1]",
    ),
    Preset(
        name="BAAI/bge-reranker-v2-m3", family="cross_encoder", max_length=8192, parameters="568M",
        base="BAAI/bge-m3", licence="Apache-2.0", figures=(_on(RERANK9, 0.8586),),
        source=_HUB + "BAAI/bge-reranker-v2-m3", note="many languages",
    ),
    Preset(
        name="nlpai-lab/KURE-Reranker-base", family="cross_encoder", max_length=8192, parameters="1.7B",
        base="Qwen/Qwen3-1.7B", figures=(_on(RERANK9, 0.8849),), source=_HUB + "nlpai-lab/KURE-Reranker-base",
        note="for a GPU; a causal model that is asked for yes or no; scores have no bounds",
    ),
    Preset(
        name="nlpai-lab/KURE-Reranker-nano", family="cross_encoder", max_length=8192, parameters="149M", base=_A_X,
        figures=(_on(RERANK9, 0.8808),), source=_HUB + "nlpai-lab/KURE-Reranker-nano", note="scores have no bounds",
    ),
)  # fmt: skip

ROWS = (*_DENSE, *_SPARSE, *_LATE_INTERACTION, *_CROSS_ENCODER)
"""Every known model, by family."""
