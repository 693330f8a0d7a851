"""The page's files, under a policy that lets a browser reach nothing but this gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
# Told, not guessed: on Windows the registry may call JavaScript plain text, which no browser runs.
MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class PageFiles(StaticFiles):
    """Scripts, styles and the icon."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC)

    def file_response(self, full_path: Any, *args: Any, **options: Any) -> Response:  # noqa: ANN401 - Starlette's own
        response = super().file_response(full_path, *args, **options)
        response.headers.update(HEADERS)
        if (media_type := MEDIA_TYPES.get(Path(full_path).suffix)) is not None:
            response.headers["content-type"] = media_type
        return response


def index(request: Request) -> Response:
    """The page itself. It is told whether a token is needed, so that it need not try without."""
    page = (STATIC / "index.html").read_text("utf-8")
    needed = request.app.state.relay.settings.http_auth
    return HTMLResponse(page.replace('data-auth="tokens"', f'data-auth="{needed}"'), 200, HEADERS)
