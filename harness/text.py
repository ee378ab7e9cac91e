"""Text from outside (models, providers, files, checkpoints) made harmless, one way for each medium.

Every renderer uses these: `plain`, `line` and `one_line` for a terminal, `markdown` for Markdown, `csv_text` for a cell
of a CSV. HTML is escaped by the page's templates, on top of `plain`. Numbers are never passed through them.
"""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_REORDERING = re.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that make text read in another order than it is written (CVE-2021-42574)."""
_HIDDEN = re.compile(r"[\U000e0000-\U000e007f]")
"""Tag characters: a whole message may stand in them unseen."""
_NO_CHARACTER = re.compile(r"[\ud800-\udfff\ufffe\uffff]")
"""What no XML file may hold."""
_BREAK = re.compile(r"[\n\u2028\u2029]+")
_MARKDOWN = re.compile(r"[\\`*|~]|\$(?!\d)|\](?=[(\[:])|^\[")
"""What means something to Markdown; a bracket only where it could close a link's text or begin a definition."""
_HTML = re.compile(r"<(?=[A-Za-z/!?]|$)|&(?=#?\w+;)")
"""A tag, a comment or an entity; an inequality is none."""
_UNDERSCORES = re.compile(r"_+")
_LINK = re.compile(r"\b(https?|ftp|mailto|xmpp):|\bwww\.|@", re.IGNORECASE)
_BLOCK = re.compile(r"^(?=[#+=>-])|^(\d+)(?=[.)])")
"""What begins a heading, a list or a rule at the start of a line."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that spreadsheets calculate (CWE-1236)."""


def plain(text: str) -> str:
    """Text of several lines: no terminal codes; control, hidden and reordering characters spelled out."""
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROL.sub(lambda match: f"␀{ord(match.group()):02x}", text)
    text = _REORDERING.sub(_spelled, text)
    text = _HIDDEN.sub(_spelled, text)
    return _NO_CHARACTER.sub("�", text)


def line(text: str) -> str:
    """The same on one line: a name with a line break must not look like a line of ours."""
    return _BREAK.sub(" ⏎ ", plain(text)).replace("\t", " ")


def one_line(text: str, length: int = 200) -> str:
    """The same, cut to `length`: for what may be long and is shown inside a line."""
    shown = " ".join(line(text[: 4 * length]).split())
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def markdown(text: str) -> str:
    """Text within a line of Markdown, shown as it is: no HTML, image, link, table column, emphasis or heading in it.

    Underscores within a word, as instance ids have them, mean nothing to Markdown and stay.
    """
    text = _HTML.sub(lambda match: "&lt;" if match.group() == "<" else "&amp;", line(text).strip())
    text = _MARKDOWN.sub(lambda match: f"\\{match.group()}", text)
    text = _LINK.sub(_unlinked, text)
    text = _UNDERSCORES.sub(_escaped_underscores, text)
    return _BLOCK.sub(lambda match: f"{match.group()}\\", text)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with what it counts: "1 row is" or "2 rows are"; `many` is `one` with an s by default."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def counted_part(number: int, total: int, what: str, one: str, many: str) -> str:
    """A part with its verb: "1 of 5 rows is" or "2 of 5 rows are", where `one` is "is" and `many` is "are"."""
    return f"{number} of {counted(total, what)} {one if number == 1 else many}"


def csv_text(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula: one that might be gets a leading apostrophe.

    `csv_original` takes it off again. Only for text: a negative number is one, and stays a number.
    """
    risky = text.lstrip(" ").startswith(_FORMULA) or text.startswith("'")
    return f"'{text}" if risky else text


def csv_original(text: str) -> str:
    """What `csv_text` was given; other text as it is."""
    rest = text[1:]
    return rest if text.startswith("'") and csv_text(rest) == text else text


def _spelled(match: re.Match[str]) -> str:
    return f"⟦U+{ord(match.group()):04X}⟧"


def _unlinked(match: re.Match[str]) -> str:
    found = match.group()
    return "&#64;" if found == "@" else f"{found[:-1]}&#{ord(found[-1])};"


def _escaped_underscores(match: re.Match[str]) -> str:
    text, (start, end) = match.string, match.span()
    within = start > 0 and end < len(text) and text[start - 1].isalnum() and text[end].isalnum()
    return match.group() if within else "\\_" * (end - start)
