"""Debian's Chromium, headless, for pages that the tests write; what a page does that it must not is noted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

Scheme = Literal["light", "dark"]


class Chromium:
    """One browser; each page is new, and must be quiet: no message, no error, no request but the document.

    Attributes:
        heard: what the last page asked for and said.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("chromium")
        if program is None:
            pytest.skip("chromium is not installed: apt-get install chromium")
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of use beside a browser alone

        self.heard: list[str] = []
        self._folder = folder
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])

    @contextmanager
    def showing(self, document: str, scheme: Scheme = "light", width: int = 1280) -> Iterator[Page]:
        """The document, opened as a file."""
        file = self._folder / "report.html"
        file.write_text(document, encoding="utf-8")
        page = self._browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.heard = heard = []
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(request.url))
        page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.type}"))
        try:
            page.goto(file.as_uri())
            yield page
            assert [file.as_uri()] == heard
        finally:
            page.close()

    def close(self) -> None:
        self._browser.close()
        self._playwright.stop()
