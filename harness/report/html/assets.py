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

from harness.report import text

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Shell:
    """What a page has inline, and the policy that lets the browser run and fetch nothing else."""

    style: Markup
    script: Markup
    policy: str


@cache
def environment() -> Environment:
    """Autoescaping everywhere; a name the template does not know is an error, not an empty string."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    made.filters.update(
        count=text.count, signed=text.signed, percent=text.percent, money=text.money, duration=text.duration,
        p_value=text.p_value, plain=text.plain, heat=heat,
    )  # fmt: skip
    return made


def _harmless(value: Any) -> Any:
    """Names of models and datasets come from outside, too; what is markup already is ours."""
    return text.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def shell(*scripts: str) -> Shell:
    """The style sheet and the named scripts, in one element each.

    A hash in the policy allows exactly this text: whatever else got into the page, attributes that run code included,
    does nothing. `default-src 'none'` leaves no request to make.
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
    """JSON for a `<script type="application/json">`: nothing in it can end the element or open another."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        content = content.replace(character, f"\\u{ord(character):04x}")
    return Markup(content)


def heat(rate: float | None) -> str:
    """Class of a shaded cell, `h0` (none) to `h20` (all)."""
    return "" if rate is None else f"h{round(max(0.0, min(1.0, rate)) * 20)}"
