"""What the measurements share: a document per measurement with command, versions and machine, and a plain table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.files import write_atomic

OUT = Path("results/bench")


def options(name: str, doc: str | None, **defaults: Any) -> Namespace:
    """Command-line options of a measurement: one per default, of its type, and --out."""
    parser = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    for option, default in defaults.items():
        kind = str if default is None else type(default)
        parser.add_argument(f"--{option.replace('_', '-')}", type=kind, default=default)
    parser.add_argument("--out", type=Path, default=OUT / f"{name}.json")
    return parser.parse_args()


def machine() -> str:
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} CPUs, {platform.platform()}, Python {platform.python_version()}, load {load:.1f} at the end"


def versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in ("polyswe", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def keep(out: Path, what: str, figures: Mapping[str, Any], packages: Sequence[str] = ()) -> None:
    """Write a measurement's document."""
    script = Path(sys.argv[0])
    document = {
        "what": what,
        "command": " ".join(["python", f"tests/bench/{script.name}", *sys.argv[1:]]),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(*packages),
        **figures,
    }
    write_atomic(out, json.dumps(document, indent=2) + "\n")
    print(f"written to {out}")


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with the same keys, aligned."""
    heads = list(rows[0])
    cells = [[str(row[head]) for head in heads] for row in rows]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(heads))]
    for line in [heads, *cells]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def skip(reason: str) -> None:
    """End without a measurement, saying why; `make bench` goes on with the next."""
    print(f"skipped: {reason}")
    sys.exit(0)
