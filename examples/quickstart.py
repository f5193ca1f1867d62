"""빠른 시작: 한국어 안내문 24건에서 답이 있는 문서를 찾습니다. 다운로드 없이 몇 초면 끝납니다.

Quick start: finds the notice that answers each question, among 24 Korean notices. No download; takes a few seconds.

실행(run): python examples/quickstart.py
"""

import json
from pathlib import Path

from langchain_core.documents import Document

from langchain_korag import KoColBERTRetriever

HANDBOOK = Path(__file__).with_name("handbook.jsonl")
QUESTIONS = [
    "집주인이 전세금을 안 돌려줘요",
    "물건을 반품하고 싶어요",
    "등기부등본은 언제 확인하나요?",
    "대형 폐기물은 어떻게 버리나요?",
    "비밀번호를 잊어서 로그인이 안 돼요",
]


def read_documents() -> list[Document]:
    """Returns the notices as LangChain documents."""
    rows = [json.loads(line) for line in HANDBOOK.read_text(encoding="utf-8").splitlines()]
    return [Document(id=row["id"], page_content=row["text"], metadata={"분류": row["category"]}) for row in rows]


def main() -> None:
    """Indexes the notices and prints the best one for each question."""
    retriever = KoColBERTRetriever.from_documents(read_documents(), model="mini-colbert", k=1)
    for question in QUESTIONS:
        (best,) = retriever.invoke(question)
        print(f"질문: {question}\n  → [{best.metadata['분류']}] {best.page_content}")


if __name__ == "__main__":
    main()
