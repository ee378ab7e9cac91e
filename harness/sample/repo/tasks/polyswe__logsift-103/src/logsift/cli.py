"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TextIO

from logsift.query import Query, QueryError
from logsift.reader import read_records
from logsift.sift import count_levels, sift


def main(argv: Sequence[str] | None = None, stdin: TextIO | None = None, stdout: TextIO | None = None) -> int:
    """Exit status as grep's: 0 when something matched, 1 when nothing did, 2 for a query that cannot be read."""
    parser = argparse.ArgumentParser(prog="logsift")
    parser.add_argument("query")
    parser.add_argument("files", nargs="*", type=Path, help="standard input when there is none")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--count", action="store_true", help="numbers of records by level instead of the records")
    options = parser.parse_args(argv)
    out = stdout or sys.stdout
    try:
        query = Query.parse(options.query)
    except QueryError as error:
        print(f"logsift: {error}", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        files = [stack.enter_context(path.open(encoding="utf-8", errors="replace")) for path in options.files]
        sources = files or [stdin or sys.stdin]
        records = chain.from_iterable(read_records(source) for source in sources)
        found = sift(records, query, options.limit)
        if options.count:
            counts = count_levels(found)
            for name, number in counts.items():
                print(f"{number:7} {name}", file=out)
            return 0 if counts else 1
        status = 1
        for record in found:
            print(record.text, file=out)
            status = 0
        return status
