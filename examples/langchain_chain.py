"""LangChain: 검색기와 리랭커를 체인에 넣습니다. 실제로 쓸 때는 가짜 모델을 여러분의 챗 모델로 바꾸세요.

A chain with our retriever and reranker; the fake chat model stands for yours.

실행(run): python examples/langchain_chain.py
"""

from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from quickstart import read_documents

from langchain_korag import KoColBERTReranker, KoColBERTRetriever


def build_chain() -> Runnable[str, str]:
    """Returns question → retrieve 10 → keep the best 2 → prompt → model → text."""
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
