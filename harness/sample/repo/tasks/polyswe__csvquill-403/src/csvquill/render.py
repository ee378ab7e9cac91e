"""Output formats."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

Row = Sequence[str]
Renderer = Callable[[Row, Iterable[Row], TextIO], None]


def _delimited(delimiter: str) -> Renderer:
    def render(header: Row, rows: Iterable[Row], out: TextIO) -> None:
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    return render


def _jsonl(header: Row, rows: Iterable[Row], out: TextIO) -> None:
    for row in rows:
        out.write(json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n")


RENDERERS: dict[str, Renderer] = {"csv": _delimited(","), "tsv": _delimited("\t"), "jsonl": _jsonl}
