"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TextIO

from csvquill.errors import QuillError
from csvquill.render import RENDERERS
from csvquill.source import open_source
from csvquill.table import read_table
from csvquill.where import Condition

MATCHED, NOTHING_MATCHED, FAILED = 0, 1, 2


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="csvquill", description="Query a CSV file.")
    parser.add_argument("source", help="file, or - for standard input")
    parser.add_argument("--where", action="append", default=[], metavar="COND", help="condition; may be repeated")
    parser.add_argument("--select", metavar="COLS", help="columns to print, separated by commas")
    parser.add_argument("--format", choices=sorted(RENDERERS), default="csv")
    parser.add_argument("--delimiter", default=",")
    parser.add_argument("--count", action="store_true", help="print the number of matches only")
    return parser


def main(
    argv: Sequence[str] | None = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Runs the program; returns the exit status."""
    options = build_parser().parse_args(argv)
    try:
        matches = run(options, stdin or sys.stdin, stdout or sys.stdout)
    except QuillError as error:
        print(f"csvquill: {error}", file=stderr or sys.stderr)
        return FAILED
    return MATCHED if matches else NOTHING_MATCHED


def run(options: argparse.Namespace, stdin: TextIO, stdout: TextIO) -> int:
    """Prints what was asked for; returns the number of matches."""
    conditions = [Condition.parse(text) for text in options.where]
    with open_source(options.source, stdin) as stream:
        table = read_table(stream, options.source, options.delimiter)
        tests = [condition.test(table) for condition in conditions]
        names = options.select.split(",") if options.select else table.header
        try:
            positions = [table.column(name) for name in names]
        except KeyError as error:
            raise QuillError(f"no column {error}; there are {', '.join(table.header)}") from None
        matching = [record.fields for record in table.records if all(test(record) for test in tests)]
    if options.count:
        print(len(matching), file=stdout)
    else:
        rows = ([fields[position] for position in positions] for fields in matching)
        RENDERERS[options.format](names, rows, stdout)
    return len(matching)


if __name__ == "__main__":
    sys.exit(main())
