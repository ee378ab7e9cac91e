"""Which tests passed, as the output of a test runner names them. Output is hostile text: it is read line by line."""

from __future__ import annotations

import re
from collections.abc import Callable

_UNITTEST = re.compile(r"(\w+) \(([\w.]+)\)")
_NOT_PASSED = re.compile(r"\.\.\. (?:ERROR|FAIL|skipped|expected failure|unexpected success)")


def passed_tests(runner: str, output: str) -> list[str]:
    """Names of the tests that passed, each once; none where the output names none."""
    return list(dict.fromkeys(_READERS[runner](output)))


def _pytest(output: str) -> list[str]:
    """The short summary that `-rp` asks for."""
    return [line[len("PASSED ") :].strip() for line in output.split("\n") if line.startswith("PASSED ")]


def _unittest(output: str) -> list[str]:
    """`test_a (module.Class) ... ok`; where the test has a docstring, its first line stands between the two."""
    names, name = [], ""
    for line in output.split("\n"):
        if match := _UNITTEST.match(line):
            name = f"{match[1]} ({match[2].removesuffix('.' + match[1])})"
        if _NOT_PASSED.search(line):
            name = ""
        if name and (line.rstrip().endswith("... ok") or line.rstrip() == "ok"):  # or after what the test prints
            names.append(name)
            name = ""
    return names


def _sympy(output: str) -> list[str]:
    """`test_a ok`; the last line of a file also bears the file's result."""
    lines = (line.rstrip().removesuffix("[OK]").removesuffix("[FAIL]").rstrip() for line in output.split("\n"))
    return [line.removesuffix(" ok") for line in lines if line.startswith("test_") and line.endswith(" ok")]


_READERS: dict[str, Callable[[str], list[str]]] = {
    "pytest": _pytest,
    "unittest": _unittest,
    "django": _unittest,
    "sympy": _sympy,
}
