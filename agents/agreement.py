"""How far attempts' patches agree on the code: tests, documentation, comments, docstrings and blank lines aside."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from agents.signals import is_test

MAX_CHARACTERS = 200_000
"""Characters of a patch that are compared."""
MAX_TOKENS = 1_000
"""Added tokens of a patch whose sequence is compared: the comparison takes time by their square."""

_DOCUMENTATION = re.compile(
    r"(?:^|/)docs?/|\.(?:md|rst|txt)$|(?:^|/)(?:change(?:s|log)|authors|news)[^/]*$", re.IGNORECASE
)
_SCRATCH = re.compile(
    r"(?:^|/)(?:repro|reproduce|debug|demo|example|scratch|check|verify|tmp|temp)[^/]*$", re.IGNORECASE
)
_HASH_COMMENTS = ("py", "pyx", "pyi", "rb", "sh", "pl", "yaml", "yml", "toml", "cfg", "ini")
_OPENING = re.compile(r"[rbfuRBFU]{0,2}(?P<quote>\"\"\"|'''|\"|')")
_WORD = re.compile(r"\w+|[^\w\s]")
_COMMENT = {False: re.compile(r"#[^\n]*"), True: re.compile(r"//[^\n]*")}
"""To the end of the line, by whether a language's comments begin with slashes."""
_INSIDE = {
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*', re.DOTALL),
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*", re.DOTALL),
    '"': re.compile(r'(?:[^"\\\n]|\\.)*', re.DOTALL),
    "'": re.compile(r"(?:[^'\\\n]|\\.)*", re.DOTALL),
    "*/": re.compile(r"(?:[^*]|\*(?!/))*"),
}
"""By the mark that closes it: what a literal or a comment may hold."""

Change = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A source file's path, its removed and its added tokens."""


@dataclass(frozen=True)
class _Patch:
    """What two patches are compared by."""

    changes: tuple[Change, ...]
    """In order of path."""

    @property
    def added(self) -> list[str]:
        return [token for _, _, added in self.changes for token in added][:MAX_TOKENS]


def agreement(patches: Sequence[str]) -> list[dict[str, float]]:
    """For each of several attempts' patches, how far the others agree with it; NaN where there is no other.

    `patch_similarity`: mean similarity to the others; `patch_agrees`: share of the others that make the same change.
    """
    signals = []
    for i, patch in enumerate(patches):
        others = [other for j, other in enumerate(patches) if j != i]
        alike = [value for other in others if not math.isnan(value := similarity(patch, other))]
        signals.append(
            {
                "patch_similarity": sum(alike) / len(alike) if alike else math.nan,
                "patch_agrees": sum(same_change(patch, other) for other in others) / len(others)
                if others
                else math.nan,
            }
        )
    return signals


def same_change(a: str, b: str) -> bool:
    """Whether two patches make the same change to the same source files. Two that change no source do not agree."""
    changes = _read(a).changes
    return bool(changes) and changes == _read(b).changes


@lru_cache(maxsize=1024)
def similarity(a: str, b: str) -> float:
    """Ratio of the sequences of tokens that two patches add, 0 to 1; NaN when one of them changes no source."""
    first, second = _read(a), _read(b)
    if not first.changes or not second.changes:
        return math.nan
    if first.added == second.added:
        return 1.0
    return difflib.SequenceMatcher(None, first.added, second.added, autojunk=False).ratio()


@lru_cache(maxsize=256)
def _read(patch: str) -> _Patch:
    """The changes of a patch to source files."""
    files: dict[str, tuple[list[str], list[str]]] = {}
    removed: list[str] = []
    added: list[str] = []
    old = ""
    for line in patch[:MAX_CHARACTERS].split("\n"):
        if line.startswith("diff --git "):
            removed, added, old = [], [], ""
        elif line.startswith("--- "):
            old = line[4:].strip()
        elif line.startswith("+++ "):
            path = line[4:].split("\t", 1)[0].strip()
            path = old if path == "/dev/null" else path
            path = path.split("/", 1)[-1] if path.startswith(("a/", "b/")) else path
            removed, added = [], []
            if _is_source(path, is_new=old == "/dev/null"):
                removed, added = files.setdefault(path, (removed, added))
        elif line.startswith("-"):
            removed.append(line[1:])
        elif line.startswith("+"):
            added.append(line[1:])
    changes = ((path, _tokens(path, gone), _tokens(path, new)) for path, (gone, new) in sorted(files.items()))
    return _Patch(tuple(change for change in changes if change[1] or change[2]))


def _is_source(path: str, *, is_new: bool) -> bool:
    if is_test(path) or _DOCUMENTATION.search(path):
        return False
    return not (is_new and ("/" not in path or _SCRATCH.search(path)))


def _tokens(path: str, lines: Sequence[str]) -> tuple[str, ...]:
    """Tokens of code: a literal is one, and a text that a line begins with is a docstring and none."""
    text = "\n".join(lines)
    slashes = path.rsplit(".", 1)[-1] not in _HASH_COMMENTS
    comment = _COMMENT[slashes]
    tokens: list[str] = []
    unclosed: dict[str, int] = {}
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif match := comment.match(text, position):
            position = match.end()
        elif slashes and text.startswith("/*", position) and (end := _end(text, position + 2, "*/", unclosed)):
            position = end
        elif literal := _literal(text, position, unclosed):
            quote, end = literal
            if len(quote) == 1 or text[text.rfind("\n", 0, position) + 1 : position].strip():
                tokens.append(text[position:end])
            position = end
        elif match := _WORD.match(text, position):
            tokens.append(match[0])
            position = match.end()
        else:
            position += 1
    return tuple(tokens)


def _literal(text: str, position: int, unclosed: dict[str, int]) -> tuple[str, int] | None:
    """The quotes of the literal that begins at a position, and its end; None where none does."""
    opening = _OPENING.match(text, position)
    if opening is None:
        return None
    for quote in (opening["quote"], opening["quote"][0]):  # three quotes that nothing closes begin with an empty text
        if end := _end(text, opening.start("quote") + len(quote), quote, unclosed):
            return quote, end
    return None


def _end(text: str, start: int, closing: str, unclosed: dict[str, int]) -> int | None:
    """Where what begins before `start` ends, its closing mark included; None where nothing closes it.

    `unclosed` keeps, by closing mark, the position before which there is none: a search from every opening mark would
    take time by the square of the length.
    """
    if start < unclosed.get(closing, 0):
        return None
    inside = _INSIDE[closing].match(text, start)
    end = inside.end() if inside else start
    if text.startswith(closing, end):
        return end + len(closing)
    unclosed[closing] = end
    return None
