"""API keys in files that are about to become public."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from agents.redaction import SHORTEST, secret_variables, written_forms

LONGEST_SHAPE = 1024
"""Bytes that a match of a shape may take."""
MAX_PLACES = 20
"""Places named of one file."""


@dataclass(frozen=True)
class Shape:
    """How a provider's keys look: the bytes they begin with, and a pattern that is bounded in length."""

    kind: str
    beginnings: tuple[bytes, ...]
    pattern: re.Pattern[bytes]


SHAPES = (
    Shape("Anthropic key", (b"sk-ant-",), re.compile(rb"sk-ant-[A-Za-z0-9_-]{20}")),
    Shape("OpenRouter key", (b"sk-or-v1-",), re.compile(rb"sk-or-v1-[0-9a-f]{32}")),
    Shape("OpenAI key", (b"sk-proj-", b"sk-svcacct-"), re.compile(rb"sk-(?:proj|svcacct)-[A-Za-z0-9_-]{20}")),
    Shape("OpenAI key", (b"sk-",), re.compile(rb"\bsk-[A-Za-z0-9]{40,200}\b")),
    Shape("AWS key id", (b"AKIA", b"ASIA"), re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    Shape(
        "GitHub token",
        (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat_"),
        re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36,255}\b|\bgithub_pat_[A-Za-z0-9_]{40,255}\b"),
    ),
    Shape("Google key", (b"AIza",), re.compile(rb"\bAIza[0-9A-Za-z_-]{35}\b")),
    Shape("Hugging Face token", (b"hf_",), re.compile(rb"\bhf_[A-Za-z0-9]{30,200}\b")),
    Shape("Groq key", (b"gsk_",), re.compile(rb"\bgsk_[A-Za-z0-9]{40,200}\b")),
    Shape(
        "Slack token",
        (b"xoxa-", b"xoxb-", b"xoxp-", b"xoxr-", b"xoxs-"),
        re.compile(rb"\bxox[abprs]-[0-9A-Za-z-]{20}"),
    ),
    Shape(
        "bearer token",
        (b"uthorization",),
        re.compile(rb"uthorization\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?Bearer\s{1,8}[A-Za-z0-9._~+/-]{24}"),
    ),
)
"""Shapes of keys that do not occur by chance. Private keys are left out: the benchmark's own repositories hold some."""


def environment_secrets(names: Sequence[str | None] = ()) -> dict[str, set[str]]:
    """Secret values of this process' environment by the name of their variable; `names` are further variables."""
    secrets: dict[str, set[str]] = {}
    for name, value in secret_variables(os.environ, frozenset(name for name in names if name)):
        if len(value) >= SHORTEST:
            secrets.setdefault(name, set()).add(value)
    return secrets


def secrets_in(blocks: Iterable[bytes], values: Mapping[str, Collection[str]]) -> Iterator[str]:
    """Each secret in a file's blocks as "line 12: Anthropic key"; never the secret itself.

    A value is also found where it is JSON-, URL-, HTML-, hex- or base64-encoded. Only two blocks are held at a time.

    Args:
        blocks: The file's content.
        values: Secret values by the name of their variable.
    """
    forms = {
        name: sorted({form.encode("utf-8", "surrogateescape") for v in of_name for form in written_forms(v)})
        for name, of_name in values.items()
    }
    longest = max([LONGEST_SHAPE, *(len(form) for of_value in forms.values() for form in of_value)])
    places = 0
    for window in _windows(blocks, longest):
        for at, what in chain(_shapes_in(window), _values_in(window, forms)):
            if places == MAX_PLACES:
                yield f"more than {MAX_PLACES} keys; the others are not listed"
                return
            places += 1
            yield f"line {window.line_of(at)}: {what}"
            forms.pop(what.removeprefix("the value of $"), None)  # one place of each value is enough


@dataclass(frozen=True)
class _Window:
    """A part of a file. What begins between `begin` and `end` belongs to it; the rest is there for context."""

    data: bytes
    begin: int
    end: int
    line: int
    """Number of the line that `data` begins in."""

    def line_of(self, at: int) -> int:
        return self.line + self.data.count(b"\n", 0, at)

    def find(self, wanted: bytes, begin: int) -> int:
        return self.data.find(wanted, begin, min(len(self.data), self.end + len(wanted) - 1))


def _windows(blocks: Iterable[bytes], longest: int) -> Iterator[_Window]:
    """The blocks with so much of the next that nothing of `longest` bytes is cut in two."""
    data, begin, line = b"", 0, 1
    for block in chain(blocks, (None,)):
        data += block or b""
        end = len(data) - longest if block is not None else len(data)
        if end > begin:
            yield _Window(data, begin, end, line)
            cut = end - 1  # the byte before tells whether a word begins
            line += data.count(b"\n", 0, cut)
            data, begin = data[cut:], 1


def _shapes_in(window: _Window) -> Iterator[tuple[int, str]]:
    for shape in SHAPES:
        for beginning in shape.beginnings:
            at = window.find(beginning, window.begin)
            while at >= 0:
                if match := shape.pattern.match(window.data, at):
                    yield at, shape.kind
                at = window.find(beginning, match.end() if match else at + 1)


def _values_in(window: _Window, forms: Mapping[str, Sequence[bytes]]) -> Iterator[tuple[int, str]]:
    for name, of_value in list(forms.items()):
        places = [at for form in of_value if (at := window.find(form, window.begin)) >= 0]
        if places:
            yield min(places), f"the value of ${name}"
