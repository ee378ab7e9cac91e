"""API keys in files that are about to become public."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

KINDS = {
    "Anthropic key": rb"sk-ant-[A-Za-z0-9_-]{20,}",
    "OpenRouter key": rb"sk-or-v1-[0-9a-f]{32,}",
    "OpenAI key": rb"sk-(?:proj-|svcacct-)[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9]{40,}\b",
    "AWS key id": rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{40,}\b",
    "Google key": rb"\bAIza[0-9A-Za-z_-]{35}\b",
    "Hugging Face token": rb"\bhf_[A-Za-z0-9]{30,}\b",
    "Groq key": rb"\bgsk_[A-Za-z0-9]{40,}\b",
    "Slack token": rb"\bxox[abprs]-[0-9A-Za-z-]{20,}",
    "bearer token": rb"[Aa]uthorization[\"']?\s*[:=]\s*[\"']?Bearer\s+[A-Za-z0-9._~+/-]{24,}",
}
"""Shapes of keys that do not occur by chance. Private keys are left out: the benchmark's own repositories hold some."""
_ANY = re.compile(b"|".join(b"(%b)" % pattern for pattern in KINDS.values()))
SECRET_NAMES = ("API_KEY", "ACCESS_KEY", "SECRET", "TOKEN", "PASSWORD")
"""Ends of environment variables' names whose values are secrets, as in `agents.pool`."""
SHORTEST = 8


def environment_secrets(names: Sequence[str | None] = ()) -> dict[str, str]:
    """Secret values of this process' environment by the name of their variable; `names` are further variables."""
    return {
        name: value.strip()
        for name, value in os.environ.items()
        if (name in names or name.upper().endswith(SECRET_NAMES)) and len(value.strip()) >= SHORTEST
    }


def secrets_in(path: Path, values: dict[str, str]) -> Iterator[str]:
    """Each secret in a file as "line 12: Anthropic key"; never the secret itself. A .gz is searched inside, too."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            yield "a damaged archive, which cannot be searched for keys"
    kinds = list(KINDS)
    for match in _ANY.finditer(data):
        yield f"line {_line(data, match.start())}: {kinds[(match.lastindex or 1) - 1]}"
    for name, value in values.items():
        # as it is, and as JSON writes it
        places = [data.find(shape) for shape in (value.encode(), json.dumps(value)[1:-1].encode())]
        if (at := max(places)) >= 0:
            yield f"line {_line(data, at)}: the value of ${name}"


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
