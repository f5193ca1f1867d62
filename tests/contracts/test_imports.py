"""Imports load no torch and no other framework, and a missing package gives a clear error."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import korag

HEAVY = ("torch", "transformers", "sentence_transformers")
PUBLIC = {
    "korag": [
        "BM25", "Collection", "CrossEncoderReranker", "DenseEncoder", "Fusion", "Hit", "KiwiTokenizer", "KoragError",
        "LateInteractionEncoder", "Pruner", "QdrantCollection", "Reranker", "SearchOptions", "ServerOptions",
        "SparseEncoder", "anchored_fusion", "fit_fusion", "load_encoder", "load_reranker", "maxsim",
        "reciprocal_rank_fusion", "weighted_fusion",
    ],
    "langchain_korag": [
        "KoBM25Retriever", "KoColBERTReranker", "KoColBERTRetriever", "KoContextPruner", "KoCrossEncoderReranker",
        "KoEmbeddings",
        "KoHybridRetriever", "KoRerankRetriever", "KoSparseEmbeddings", "KoSpladeRetriever",
        "KoStructuredQueryTranslator", "KoTextSplitter", "KoVectorStore", "read_documents",
        "register_reranker_provider",
    ],
    "llamaindex_korag": [
        "FoundNode", "KoBM25Retriever", "KoColBERTIndex", "KoColBERTRerank", "KoColBERTRetriever",
        "KoContextPruner", "KoCrossEncoderRerank", "KoEmbedding", "KoHybridRetriever", "KoNodeParser",
        "KoSparseEmbedding", "KoSpladeRetriever", "KoVectorStore",
    ],
}  # fmt: skip
OTHER_FRAMEWORKS = {
    "korag": ("langchain", "langchain_core", "langchain_community", "llama_index"),
    "langchain_korag": ("llama_index", "langchain", "langchain_classic", "langchain_community", "langchain_qdrant"),
    "llamaindex_korag": ("langchain_core", "langchain", "langchain_community"),
}
CORE = Path(korag.__file__).parent
REPOSITORY = Path(__file__).parents[2]


def _run(code: str) -> str:
    """Runs code in a new interpreter that finds what this one finds; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _block(*packages: str) -> str:
    return f"for name in {packages!r}: sys.modules[name] = None\n"


@pytest.mark.parametrize("package", [*PUBLIC, "korag.cli"])
def test_importing_loads_nothing_heavy_and_no_framework(package: str) -> None:
    unwanted = (*HEAVY, "numpy", "scipy", "pydantic", "langchain_core", "llama_index", "huggingface_hub")
    assert _run(f"import {package}\nprint([name for name in {unwanted!r} if name in sys.modules])") == "[]"


def test_the_help_of_the_commands_loads_nothing_heavy() -> None:
    code = "import contextlib\nfrom korag.cli import main\nwith contextlib.suppress(SystemExit): main(['--help'])\n"
    assert _run(f"{code}print([name for name in {(*HEAVY, 'numpy')!r} if name in sys.modules])").endswith("\n[]")


@pytest.mark.slow
@pytest.mark.parametrize("package", PUBLIC)
def test_naming_the_classes_loads_no_model_library(package: str) -> None:
    code = f"import {package}\n[getattr({package}, name) for name in {package}.__all__]\n"
    assert _run(f"{code}print([name for name in {HEAVY!r} if name in sys.modules])") == "[]"


@pytest.mark.slow
def test_a_search_by_words_alone_loads_neither_a_model_library_nor_kernels() -> None:
    """A small collection is searched before numba is imported, and a larger one on all cores without torch."""
    texts = "[f'{number}번 서랍에는 {number % 7}월의 영수증이 있다.' for number in range(9_000)]"
    code = f"from korag import Collection\nwith Collection.in_memory(bm25=True) as c:\n    c.add({texts})\n"
    code += "    print(c.search('5월의 영수증', k=1)[0].text)\n"
    code += f"print([name for name in {(*HEAVY, 'numba')!r} if name in sys.modules])"
    assert _run(code).splitlines() == ["5번 서랍에는 5월의 영수증이 있다.", "[]"]


@pytest.mark.slow
@pytest.mark.parametrize("package", PUBLIC)
def test_works_where_no_other_framework_can_be_imported(package: str) -> None:
    code = f"from {package} import *\nprint(sorted(name for name in globals() if name in {PUBLIC[package]!r}))"
    assert _run(_block(*OTHER_FRAMEWORKS[package]) + code) == str(sorted(PUBLIC[package]))


@pytest.mark.parametrize(
    ("package", "dependency", "extra"),
    [("langchain_korag", "langchain_core", "langchain"), ("llamaindex_korag", "llama_index", "llamaindex")],
)
def test_a_missing_framework_is_an_error_that_names_the_install(package: str, dependency: str, extra: str) -> None:
    name = PUBLIC[package][0]
    code = f"""
import {package}
from korag.errors import MissingDependencyError
assert {package}.__all__ == {PUBLIC[package]!r} and {name!r} in dir({package})
for attempt in ("{package}.{name}", "hasattr({package}, '{name}')", "__import__('{package}', fromlist=['{name}'])"):
    try:
        eval(attempt)
    except MissingDependencyError as error:
        assert isinstance(error, ImportError)
        print(error)
    else:
        raise SystemExit(attempt)
"""
    messages = _run(_block(dependency) + code)
    assert messages.count(f"Install it with: pip install 'korag[{extra}]'") == 3
    assert messages.count("설치하세요") == 3


def test_an_import_error_inside_an_installed_framework_is_passed_on() -> None:
    """Its own message helps; a "pip install" would not."""
    code = """
import langchain_korag
try:
    langchain_korag.KoColBERTRetriever
except ImportError as error:
    print(type(error).__name__, error.name)
"""
    assert _run(_block("langchain_core.retrievers") + code) == "ModuleNotFoundError langchain_core.retrievers"


@pytest.mark.parametrize("package", PUBLIC)
def test_public_names(package: str) -> None:
    module = __import__(package)
    assert module.__all__ == sorted(PUBLIC[package])
    listed = dir(module)
    assert len(listed) == len(set(listed))
    assert set(listed) >= {*PUBLIC[package], "__doc__", "__all__"}
    for name in PUBLIC[package]:
        assert getattr(module, name).__doc__
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        module.Nothing  # noqa: B018
    assert not hasattr(module, "__wrapped__")


@pytest.mark.parametrize("package", PUBLIC)
def test_source_imports_no_framework_but_its_own(package: str) -> None:
    """The core imports no framework, and no adapter imports another framework, not even inside functions."""
    folder = CORE if package == "korag" else REPOSITORY / package
    files = sorted(folder.rglob("*.py"))
    assert files
    # langchain_text_splitters, for LangChain's interface of splitters;
    # where they are installed: langchain_qdrant, for its SparseEmbeddings, as LangChain's core has no such interface;
    # langchain_reranker, whose table of providers ours goes into
    allowed = {
        "korag": (),
        "langchain_korag": ("langchain_core", "langchain_text_splitters", "langchain_qdrant", "langchain_reranker"),
        "llamaindex_korag": ("llama_index",),
    }[package]
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                foreign = top.startswith(("langchain", "llama_index", "llamaindex")) and top not in (*allowed, package)
                assert not foreign, f"{file}:{node.lineno} imports {name}"
                assert not name.startswith("core.korag"), f"{file}:{node.lineno} imports {name}"
