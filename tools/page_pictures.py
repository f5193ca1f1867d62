"""Makes the pictures of the search page in docs/images, with Chromium: ``python tools/page_pictures.py``.

Needs playwright (``pip install playwright``) and a Chromium of this machine.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from served import running

from korag import Collection
from korag.serving.app import create_app

IMAGES = Path(__file__).parents[1] / "docs" / "images"
DOCUMENTS = {
    "임대차/보증금.md": "임대차가 끝나면 집주인은 보증금을 돌려주어야 한다. 그때까지 세입자는 집을 비우지 않아도 된다.",
    "임대차/수리.md": "보일러처럼 큰 수리는 집주인이, 전구처럼 작은 수리는 세입자가 맡는다.",
    "인사/휴가.md": "연차 휴가는 사흘 전까지 팀장에게 신청하고, 반차는 하루 전까지 신청한다.",
    "총무/문서.md": "계약서는 십 년, 회의록은 오 년 동안 보존한다.",
}
QUERY = "집주인이 보증금을 안 돌려줘요"


def main() -> None:
    """Takes the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with Collection.in_memory(encoders=["mini-colbert", "mini-splade"], bm25=True) as collection:
        metadata = [{"file": name} for name in DOCUMENTS]
        collection.add(list(DOCUMENTS.values()), ids=list(DOCUMENTS), metadata=metadata)
        with running(create_app(collection)) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            for name, scheme, width in (("search-page", "light", 900), ("search-page-dark", "dark", 420)):
                page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 1_000})
                page.goto(f"{url}/#q={QUERY}")
                page.get_by_role("article").first.get_by_text("근거 보기").click()
                page.get_by_role("article").first.get_by_role("table").first.wait_for()
                page.screenshot(path=IMAGES / f"{name}.png")
                page.close()
            browser.close()


if __name__ == "__main__":
    main()
