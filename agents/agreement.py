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
_TOKEN = re.compile(
    r'(?P<text>[rbfuRBFU]{0,2}(?:"""(?:[^"\\]|\\.|"(?!""))*"""|\'\'\'(?:[^\'\\]|\\.|\'(?!\'\'))*\'\'\'))'
    r'|(?P<word>[rbfuRBFU]{0,2}(?:"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')|\w+|[^\w\s])',
    re.DOTALL,
)
_COMMENT = {True: re.compile(r"#[^\n]*"), False: re.compile(r"//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/")}
"""By whether a language's comments begin with `#`."""

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
    comment = _COMMENT[path.rsplit(".", 1)[-1] in _HASH_COMMENTS]
    tokens: list[str] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
        elif match := comment.match(text, position):
            position = match.end()
        elif match := _TOKEN.match(text, position):
            position = match.end()
            begins_line = not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
            if match["word"] or not begins_line:
                tokens.append(match[0])
        else:
            position += 1
    return tuple(tokens)
