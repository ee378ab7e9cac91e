"""A guard against passes that no test has earned: the same test, changed so that it has to fail.

A patch can end the interpreter with status 0 when it is imported, or make the test runner report success. Then the
changed test "passes" too. The limit: a patch that tells the changed test from the original one is not found out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

EXIT_CODE = 97
"""Exit status that a changed test ends with wherever the original chooses one."""

_SIMPLE = re.compile(r"[^|;&`!$<>()\n]*(?:&&[^|;&`!$<>()\n]*)*")
_HARMLESS = re.compile(r"\d?>(?:&\d| ?/dev/null)(?!\S)")
"""Redirections, which change no exit status."""
_TEST_NAME = re.compile(r"test|runTest", re.IGNORECASE)


def control_files(command: str, files: Mapping[str, str]) -> dict[str, str] | None:
    """The test's files, changed so that `command` has to fail; None where this is not certain.

    It is certain for a plain command that runs a Python file of the test: every test function fails at its end, every
    exit has a status of failure, and a script fails at its end. A pipe, for instance, hides how a script ends.
    """
    if not _SIMPLE.fullmatch(_HARMLESS.sub(" ", command)):
        return None
    changed = {path: text for path in _named(command, files) if (text := _failing(files[path])) is not None}
    return {**files, **changed} if changed else None


def _named(command: str, files: Mapping[str, str]) -> list[str]:
    """The Python files that a command names by path or as a module; all test files where it names none."""
    python = [path for path in files if path.endswith(".py")]
    words = set(command.replace("::", " ").split())
    named = [path for path in python if path in words or f"./{path}" in words or _module(path) in words]
    return named or [path for path in python if not path.endswith(("__init__.py", "conftest.py"))]


def _module(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def _failing(source: str) -> str | None:
    """A Python source that fails where it would have passed; None where it cannot be parsed."""
    try:
        tree = ast.parse(source)
        change = _Fail()
        change.visit(tree)
        end: ast.stmt = _failure()
        if change.has_tests:  # they are run by a runner that imports the file, or by the file as a script
            condition = ast.parse("__name__ == '__main__'", mode="eval").body
            end = ast.If(test=condition, body=[end], orelse=[])
        tree.body.append(end)
        return ast.unparse(ast.fix_missing_locations(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Fail(ast.NodeTransformer):
    """Makes test functions and exits fail."""

    def __init__(self) -> None:
        self.has_tests = False
        self._in_test = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_Return(self, node: ast.Return) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return [ast.Expr(node.value or ast.Constant(None)), _failure()] if self._in_test else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ("exit", "_exit", "quit", "SystemExit"):
            # what the status depends on is still worked out: it may be what calls the changed code
            values = ast.Tuple([*node.args, ast.Constant(EXIT_CODE)], ast.Load())
            status = ast.Subscript(values, ast.Constant(-1), ast.Load())
            return ast.Call(func=node.func, args=[status], keywords=[])
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        before, self._in_test = self._in_test, not self._in_test and bool(_TEST_NAME.match(node.name))
        is_test = self._in_test
        self.generic_visit(node)
        self._in_test = before
        if is_test:
            self.has_tests = True
            node.body.append(_failure())
        return node


def _failure() -> ast.stmt:
    return ast.parse("raise AssertionError('the end')").body[0]
