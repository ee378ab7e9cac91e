"""Templates with every value escaped, and one style sheet and script that the page's own policy names by their hash."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.evaluation.verdict import best_single
from harness.report import row_labels, text

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "assets"
"""Templates, style sheet and scripts."""


@dataclass(frozen=True)
class Shell:
    """A page's style sheet and script, and the policy that lets the browser run and fetch nothing else."""

    style: Markup
    script: Markup
    policy: str


@cache
def environment() -> Environment:
    """The templates: everything is escaped, and an unknown name is an error instead of an empty string."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    filters = (text.count, text.signed, text.percent, text.money, text.duration, text.p_value, text.plain, heat)
    templates.filters.update({function.__name__: function for function in filters})
    templates.globals.update(
        against_constants=row_labels.against_constants,
        best_single=best_single,
        bounds=row_labels.bounds_of,
        chip=row_labels.chip,
        difference=row_labels.difference,
        mixture=row_labels.mixture_of,
        tone=row_labels.tone,
    )
    return templates


def _harmless(value: Any) -> Any:
    """Text without control and reordering characters; every text may come from outside. Markup is our own."""
    return text.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def shell(*scripts: str) -> Shell:
    """The style sheet and the named scripts, in one element each.

    The policy allows exactly this text, by its hash. Anything else that gets into the page does nothing, attributes
    that run code included. `default-src 'none'` forbids every request.
    """
    style = (FOLDER / "report.css").read_text(encoding="utf-8")
    script = "".join((FOLDER / name).read_text(encoding="utf-8") for name in scripts)
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return Shell(Markup(style), Markup(script), policy)


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def data_block(value: Any) -> Markup:
    """JSON for a `<script type="application/json">` that can neither end the element nor open another."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        content = content.replace(character, f"\\u{ord(character):04x}")
    return Markup(content)


def heat(rate: float | None) -> str:
    """CSS class of a shaded cell, `h0` for a rate of 0 to `h20` for 1."""
    return "" if rate is None else f"h{round(max(0.0, min(1.0, rate)) * 20)}"
