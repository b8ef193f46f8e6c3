"""From a page's content to one HTML file that needs no network. Whatever comes from data is escaped by jinja2."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from sim.reports.page.content import Page

HERE = Path(__file__).parent


def render(page: Page) -> str:
    """The page as HTML.

    Only this module's own style and script may run in it, named by their hashes in its Content-Security-Policy: were
    something of the data ever taken for markup, a browser would neither run nor load it.
    """
    style, script = (HERE / "page.css").read_text(), (HERE / "page.js").read_text()
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string((HERE / "page.html.jinja").read_text())
    return template.render(
        page=page,
        style=style,
        script=script,
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}",
        data_uri=lambda svg: "data:image/svg+xml;base64," + b64encode(svg).decode(),
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
