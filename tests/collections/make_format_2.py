"""Made the collection in format_2/, run with KoRAG 0.1.0: `python make_format_2.py FOLDER ANSWERS`."""

import json
import pathlib
import sys

from korag import Collection, load_encoder

MODELS = ("mini-colbert", "mini-splade", "mini-dense")
out = pathlib.Path(sys.argv[1])
DOCS = [
    ("보증금", "임대차가 끝나면 집주인은 보증금을 세입자에게 돌려주어야 합니다.", {"분류": "임대차", "번호": 1}),
    ("등기", "임차권등기를 마치면 이사를 가도 보증금을 먼저 돌려받을 권리가 남습니다.", {"분류": "임대차", "번호": 2}),
    ("연차", "일 년 동안 여든 퍼센트 넘게 출근한 직원에게는 유급휴가 열닷새를 줍니다.", {"분류": "노무", "번호": 3}),
    ("퇴직금", "퇴직한 날부터 열나흘 안에 퇴직금을 주지 않으면 이자가 붙습니다.", {"분류": "노무", "번호": 4}),
    ("김치", "김치는 담근 뒤 서늘한 곳에서 사흘쯤 익히면 맛이 듭니다.", {"분류": "요리", "번호": 5}),
    ("버스", "막차는 밤 열한 시 사십 분에 터미널에서 떠납니다.", {"분류": "교통", "번호": 6, "태그": ["야간", None]}),
    ("오류", "GPU 메모리가 부족하다는 오류가 나면 배치 크기를 줄이세요.", {"분류": "개발", "번호": 7}),
    ("빈 문서", "", {"분류": "없음"}),
]
QUERIES = ["보증금은 언제 돌려받나요?", "퇴직금을 늦게 주면 어떻게 되나요?", "메모리 부족 오류", "김치 익히는 법"]
c = Collection.open(out, encoders=[load_encoder(name, dtype="float32") for name in MODELS], bm25=True)
first = DOCS[:5]
c.add([t for _, t, _ in first], ids=[i for i, _, _ in first], metadata=[m for _, _, m in first])
rest = DOCS[5:]
c.add([t for _, t, _ in rest], ids=[i for i, _, _ in rest], metadata=[m for _, _, m in rest])
c.add(["막차는 밤 열두 시에 터미널에서 떠납니다."], ids=["버스"], metadata=[DOCS[5][2]])
c.delete(["김치"])
answers = {
    u: {q: [[h.id, h.score, h.relevance] for h in c.search(q, k=4, using=u)] for q in QUERIES}
    for u in ("colbert", "sparse", "dense", "bm25", "hybrid")
}
answers["where"] = {
    q: [[h.id, h.score, h.relevance] for h in c.search(q, k=4, where={"분류": "임대차"})] for q in QUERIES
}
docs = [[d.id, d.text, d.metadata] for d in c.get()]
c._database._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
c.close()
pathlib.Path(sys.argv[2]).write_text(
    json.dumps(
        {"k": 4, "where": {"분류": "임대차"}, "documents": docs, "answers": answers}, ensure_ascii=False, indent=1
    ),
    "utf-8",
)
