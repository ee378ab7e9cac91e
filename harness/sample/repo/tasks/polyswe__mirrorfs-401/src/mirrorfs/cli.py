"""The command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mirrorfs.apply import apply
from mirrorfs.ignore import IgnoreRules
from mirrorfs.plan import MirrorError, plan


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mirrorfs", description="Make TARGET a mirror of SOURCE.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--ignore", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--ignore-file", type=Path, metavar="FILE")
    parser.add_argument("--delete", action="store_true", help="remove from TARGET what SOURCE does not have")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
    args = parser.parse_args(argv)

    patterns = args.ignore_file.read_text().splitlines() if args.ignore_file else []
    rules = IgnoreRules([*patterns, *args.ignore])
    try:
        actions = plan(args.source, args.target, rules, delete=args.delete)
    except MirrorError as error:
        print(f"mirrorfs: {error}", file=sys.stderr)
        return 2
    for action in apply(actions, args.source, args.target, dry_run=args.dry_run):
        print(action)
    return 0
