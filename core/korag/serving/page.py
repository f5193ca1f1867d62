"""The search page: one file without anything from elsewhere, in Korean."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from fastapi import APIRouter, Response

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def page_routes() -> APIRouter:
    """Returns the address of the page. It holds no document: its script asks the other addresses."""
    router = APIRouter()
    text = resources.files("korag.serving").joinpath("page.html").read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": policy(text)}

    @router.get("/", include_in_schema=False)
    async def page() -> Response:
        """Returns the page."""
        return Response(text, media_type="text/html; charset=utf-8", headers=headers)

    return router


def policy(page: str) -> str:
    """Returns the policy that lets a page run its own script, and load nothing.

    Whatever a document holds, no script of it would run even if it reached the page.
    """
    digests = [hashlib.sha256(script.encode()).digest() for script in _SCRIPT.findall(page)]
    scripts = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
