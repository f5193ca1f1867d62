"""LangChain: 검색기와 리랭커를 체인에 연결합니다. 실제로는 가짜 모델 대신 쓰는 챗 모델을 넣으세요.

A chain with a KoRAG retriever and reranker; replace the fake chat model with your own.

실행(run): python examples/langchain_chain.py
"""

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from quickstart import read_documents

from langchain_korag import KoColBERTReranker, KoColBERTRetriever


def build_chain() -> Runnable[str, str]:
    """Builds the chain: question → retrieve 10 → rerank to 2 → prompt → model → text."""
    retriever = KoColBERTRetriever.from_documents(read_documents(), model="mini-colbert", k=10)
    reranker = KoColBERTReranker(model="mini-colbert", top_n=2)
    context = RunnableLambda(
        lambda question: "\n".join(
            document.page_content for document in reranker.compress_documents(retriever.invoke(question), question)
        )
    )
    prompt = ChatPromptTemplate.from_template("다음 글만 보고 답하세요.\n{context}\n질문: {question}")
    model = FakeListChatModel(responses=["법원에 임차권등기명령을 신청하시면 됩니다."])
    return {"context": context, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()


if __name__ == "__main__":
    print(build_chain().invoke("집주인이 전세금을 안 돌려줘요"))
