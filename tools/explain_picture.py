"""Writes the picture of docs/explaining.md: python tools/explain_picture.py [CHROMIUM].

A headless Chromium takes it, which CI does not have; the page itself is tested without one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from korag import Collection

ROOT = Path(__file__).parents[1]
TEXTS = {
    "주거-1": "임대차 계약이 끝나면 집주인은 보증금을 돌려주어야 한다.",
    "주거-2": "보증금을 돌려받지 못하고 이사할 때에는 임차권 등기를 신청한다.",
    "생활-1": "시립 도서관은 매주 월요일에 문을 닫는다.",
    "생활-2": "공영 주차장은 처음 한 시간이 무료이고 그 뒤로는 십 분에 오백 원을 받는다.",
}
QUERY = "보증금은 언제 돌려받나요?"
SIZE = (760, 1370)


def main(browser: str) -> None:
    """Draws the explanation of the first hit."""
    collection = Collection.in_memory(encoders=["mini-colbert", "mini-splade"], bm25=True)
    collection.add(list(TEXTS.values()), ids=list(TEXTS))
    why = collection.explain(QUERY, collection.search(QUERY, k=1)[0])
    target = ROOT / "docs" / "images" / "explain.png"
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "why.html"
        page.write_text(why.to_html(), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars"]
        options += ["--no-first-run", "--disable-background-networking", f"--user-data-dir={folder}/profile"]
        size = f"--window-size={SIZE[0]},{SIZE[1]}"
        subprocess.run([browser, *options, size, f"--screenshot={target}", page.as_uri()], check=True)  # noqa: S603


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium")
