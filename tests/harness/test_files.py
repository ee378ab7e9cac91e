"""What is read must mean what it says, and what is named must stay inside its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.files import YamlError, expand_home, parse_yaml, slug, user_path

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_yaml_writes_is_read_as_it_was(value: object) -> None:
    assert parse_yaml(yaml.safe_dump(value)) == value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("run: {max_cost: 10}\npool: []\nrun: {}\n", "'run' is given twice, lines 1 and 3"),
        ("run:\n  max_cost: 10\n  max_cost: 20\n", "'max_cost' is given twice, lines 2 and 3"),
        ("- {a: 1, 'a': 2}\n", "'a' is given twice"),
        ("a: [1,\n b: }\n", "line 2"),
        ("a: *nowhere\n", "nowhere"),
        ("a: !!python/object:os.system {}\n", "line 1"),
        ("? [a, b]\n: 1\n", "unhashable|valid YAML"),
        ("[" * 5000, "nested too deeply|line"),
        ("day: 2026-02-31\n", "day"),
        ("a: 1\nb: \0\n", "line 2: a control character"),
    ],
)
def test_ambiguous_or_broken_yaml_is_refused_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(YamlError, match=fault) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value)


def test_anchors_and_merge_keys_are_allowed() -> None:
    text = "base: &base {a: 1, b: 2}\none: {<<: *base, b: 3}\ntwo: *base\n"
    assert parse_yaml(text) == {"base": {"a": 1, "b": 2}, "one": {"a": 1, "b": 3}, "two": {"a": 1, "b": 2}}


def test_aliases_that_multiply_are_refused_before_they_are_written_out() -> None:
    lines = ["l0: &l0 [lol]"] + [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(YamlError, match="aliases multiply"):
        parse_yaml("\n".join(lines))


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home(Path("~/runs")) == tmp_path / "runs"
    assert expand_home(Path("runs/~")) == Path("runs/~")
    with pytest.raises(ValueError, match="no-such-user"):
        expand_home(Path("~no-such-user/runs"))
    assert user_path("~/runs") == tmp_path / "runs"
    assert user_path("~no-such-user/runs") == Path("~no-such-user/runs"), "no such file, which the reader says"


def test_a_name_that_is_no_utf8_gets_a_name_of_its_own() -> None:
    names = [os.fsdecode(raw) for raw in (b"caf\xe9", b"caf\xe8")]
    names += ["caf\ud800"]
    assert len({slug(name) for name in names}) == len(names)
    assert all(slug(name).isascii() for name in names)
