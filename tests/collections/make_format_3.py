"""Made the collection in format_3/, run with KoRAG's commit f12c137: `python make_format_3.py FOLDER ANSWERS`."""

import json
import pathlib
import sys

from korag import Collection, load_encoder

out = pathlib.Path(sys.argv[1])
DOCS = [
    ("우산", "비가 오면 역 앞 대여소에서 우산을 빌려 다음 날까지 돌려줍니다.", {"분류": "생활", "번호": 1}),
    ("도서관", "도서관 책은 두 주 동안 빌릴 수 있고 한 번 연장됩니다.", {"분류": "생활", "번호": 2}),
    ("여권", "여권을 잃어버리면 먼저 경찰서에 신고하고 재발급을 신청합니다.", {"분류": "행정", "번호": 3}),
    ("된장", "된장은 햇볕 좋은 날 뚜껑을 열어 두어야 곰팡이가 피지 않습니다.", {"분류": "요리", "번호": 4}),
    ("빈 문서", "", {"분류": "없음", "태그": ["가", None, 1.5]}),
]
QUERIES = ["책은 며칠 빌리나요?", "여권 재발급", "곰팡이가 피지 않게 하려면"]
c = Collection.open(out, encoders=[load_encoder("mini-dense", dtype="float32")], bm25=True)
c.add([t for _, t, _ in DOCS[:3]], ids=[i for i, _, _ in DOCS[:3]], metadata=[m for _, _, m in DOCS[:3]])
c.add([t for _, t, _ in DOCS[3:]], ids=[i for i, _, _ in DOCS[3:]], metadata=[m for _, _, m in DOCS[3:]])
c.add(["도서관 책은 세 주 동안 빌릴 수 있습니다."], ids=["도서관"], metadata=[DOCS[1][2]])
c.delete(["우산"])
answers = {
    u: {q: [[h.id, h.score, h.relevance] for h in c.search(q, k=3, using=u)] for q in QUERIES}
    for u in ("dense", "bm25", "hybrid")
}
answers["where"] = {
    q: [[h.id, h.score, h.relevance] for h in c.search(q, k=3, where={"분류": "행정"})] for q in QUERIES
}
docs = [[d.id, d.text, d.metadata] for d in c.get()]
c.close()
pathlib.Path(sys.argv[2]).write_text(
    json.dumps(
        {"k": 3, "where": {"분류": "행정"}, "documents": docs, "answers": answers}, ensure_ascii=False, indent=1
    ),
    "utf-8",
)
