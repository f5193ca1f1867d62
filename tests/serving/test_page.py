"""The search page: as its source says, and as a person with a keyboard sees it in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from served import DOCUMENTS, running

from korag import Collection
from korag.serving.app import create_app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECRET = "0123456789abcdef-own"  # noqa: S105
_ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class _Source(HTMLParser):
    """Elements of a page, and what its labels belong to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def named(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def test_the_page_loads_nothing_from_elsewhere_and_names_all_it_has() -> None:
    app = create_app(Collection.in_memory(bm25=True), token=SECRET)
    with running(app) as url:
        answer = httpx.get(url)  # without the token: there is no document in it
    policy = answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert "http:" not in answer.text
    assert "https:" not in answer.text
    source = _Source(answer.text)
    assert source.named("html")[0]["lang"] == "ko"
    assert not [each for each in source.named("script", "link") if each.get("src") or "//" in (each.get("href") or "")]
    labelled = {each["for"] for each in source.named("label")}
    assert {each["id"] for each in source.named("input", "select")} == labelled
    for landmark in ("header", "main", "h1"):
        assert len(source.named(landmark)) == 1
    roles = {each.get("role") for _, each in source.elements}
    assert {"search", "status", "alert"} <= roles
    assert not [each for _, each in source.elements if any(name.startswith("on") for name in each)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real one; CI has none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Collection.in_memory(encoders=["mini-colbert"], bm25=True) as collection:
        collection.add(list(DOCUMENTS.values()), ids=list(DOCUMENTS), metadata=[{"쪽": n} for n in range(6)])
        with running(create_app(collection, token=SECRET)) as url:
            yield url


def test_a_person_with_a_keyboard_finds_and_sees_why(browser: Any, page_url: str) -> None:
    page = browser.new_page(color_scheme="dark", viewport={"width": 360, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a script of a document has run: {dialog.message}"))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_url)

    page.get_by_text("이 서버에는 토큰이 필요합니다").wait_for()
    page.keyboard.type(SECRET)  # the field has the focus
    page.get_by_label("질문", exact=True).focus()
    page.keyboard.type("꺾쇠 글씨")
    page.keyboard.press("Enter")
    page.get_by_role("status").filter(has_text="찾았습니다").wait_for()
    first = page.get_by_role("article").first
    assert first.get_by_role("heading").inner_text() == "1. 꺾쇠"
    assert DOCUMENTS["꺾쇠"] in first.inner_text()  # as text, with its angle brackets
    assert page.locator("article script").count() == 0

    page.get_by_label("질문", exact=True).focus()
    for _ in range(12):  # nothing is out of reach without a mouse
        page.keyboard.press("Tab")
        if "근거 보기" in (page.evaluate("document.activeElement.innerText") or ""):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    why = first.locator(".why")
    page.route("**/v1/explain", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.keyboard.press("Enter")
    why.get_by_role("alert").filter(has_text="서버의 응답을 읽을 수 없습니다(HTTP 502)").wait_for()
    page.unroute("**/v1/explain")
    page.keyboard.press("Enter")  # closed
    page.keyboard.press("Enter")  # and opened again, it asks again
    first.get_by_role("table").first.wait_for()
    assert why.get_by_role("columnheader", name="가중치").count() == 1  # how the scores are fused
    assert why.locator("mark").count() > 0  # the heatmap
    assert why.locator("script").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out of a narrow window

    page.get_by_label("메타데이터 조건(JSON)").fill("{쪽}")
    page.keyboard.press("Enter")
    page.get_by_role("alert").filter(has_text="JSON이 아닙니다").wait_for()
    page.get_by_label("메타데이터 조건(JSON)").fill('{"쪽": {"$lte": 0}}')
    page.get_by_label("검색 방식").select_option("bm25")
    page.get_by_role("button", name="검색").click()
    page.get_by_role("status").filter(has_text="찾은 문서가 없습니다").wait_for()
    assert {url.partition("#")[0] for url in asked} == {
        f"{page_url}/", f"{page_url}/v1/info", f"{page_url}/v1/search", f"{page_url}/v1/explain"
    }  # fmt: skip
    assert errors == []
    page.close()
