"""The documentation page on the numbers, as HTML."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

NUMBERS = Path(__file__).parents[2] / "docs" / "numbers.md"
"""The documentation page."""


def how_numbers_are_made() -> Markup:
    """`docs/numbers.md` without its title, its headings one level deeper. HTML in it would be shown as text."""
    from markdown_it import MarkdownIt

    text = NUMBERS.read_text(encoding="utf-8").split("\n", 1)[1].replace("\n## ", "\n### ")
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    return Markup(html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"))
