"""Which instances a command takes: the terms, their order, the stratified sample, and the messages."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.selection import (
    KEYS,
    Candidate,
    Selection,
    SelectionError,
    ids_term,
    narrowed,
    sample,
    with_files_read,
)

DIFFICULTIES = ("<15 min fix", "15 min - 1 hour", "1-4 hours", ">4 hours")
BENCHMARK = [
    Candidate(f"{repo.replace('/', '__')}-{number}", repo, DIFFICULTIES[number % 4])
    for repo, count in (("django/django", 20), ("sympy/sympy", 8), ("pallets/flask", 1))
    for number in range(count)
]


def chosen(*texts: str) -> list[str]:
    return Selection.parse(texts).choose(BENCHMARK, "dataset x")


def fault(*texts: str) -> str:
    with pytest.raises(SelectionError) as error:
        chosen(*texts)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_all_terms_must_hold_and_alternatives_widen_one() -> None:
    assert chosen("repo=sympy/*", "id=*-3") == ["sympy__sympy-3"]
    assert chosen("repo=sympy/*|pallets/flask") == [one.instance_id for one in BENCHMARK[20:]]
    assert chosen("difficulty=1-4 hours repo=sympy/*") == ["sympy__sympy-2", "sympy__sympy-6"]
    assert chosen("difficulty='15 min -'", "repo=SYMPY/*") == ["sympy__sympy-1", "sympy__sympy-5"]
    assert chosen() == [one.instance_id for one in BENCHMARK]


def test_filters_come_before_the_slice_and_the_slice_before_the_sample_whatever_the_order() -> None:
    assert chosen("sample=2@1", "slice=0:4", "repo=sympy/*") == chosen("repo=sympy/*", "slice=0:4", "sample=2@1")
    assert chosen("slice=2:4 repo=sympy/*") == ["sympy__sympy-2", "sympy__sympy-3"]
    assert chosen("slice=18:22 then repo=sympy/*") == ["sympy__sympy-0", "sympy__sympy-1"]
    assert chosen(*narrowed(["slice=-9:-1"], ["slice=1:2"])) == ["sympy__sympy-1"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf# mine\r\nsympy__sympy-3  # the odd one\r\n\r\npallets__flask-0\r\n",
        b'["pallets__flask-0", "sympy__sympy-3", "sympy__sympy-3"]',
        b"pallets__flask-0\nsympy__sympy-3",
    ],
)
def test_a_file_of_ids_is_read_as_editors_write_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "my ids.txt"
    file.write_bytes(content)
    assert chosen(f"file={file}") == ["sympy__sympy-3", "pallets__flask-0"]
    frozen = with_files_read([f"file={file}", "then", "repo=sympy/*"])
    file.unlink()
    assert chosen(*frozen) == ["sympy__sympy-3"]


def test_what_a_file_cannot_name_is_said(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("sympy__sympy-3\nsimpy__sympy-4\nnope\n")
    assert "no instance nope, simpy__sympy-4" in fault(f"file={file}")
    file.write_text("# nothing\n")
    assert "names no instance" in fault(f"file={file}")
    file.write_text("[1]")
    assert "JSON list" in fault(f"file={file}")
    file.write_text("[")
    assert "cannot be read" in fault(f"file={file}")
    file.write_bytes(b"\x89PNG")
    assert fault(f"file={file}").endswith(": cannot be read (not UTF-8)")
    assert fault(f"file={tmp_path / 'absent.txt'}").endswith("absent.txt: cannot be read (No such file or directory)")


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (["repo=djago/*"], "repo=djago/* matches no repository; did you mean django/django?"),
        (["repo=sympy"], "repo=sympy matches no repository; did you mean sympy/sympy?"),
        (["repo=x/*"], "there are django/django (20), sympy/sympy (8), pallets/flask (1)"),
        (["repo=sympy/*|x/*"], "repo=x/* matches no repository"),
        (["difficulty=hours"], "difficulty=hours stands for several; there are <15 min fix"),
        (["difficulty=easy"], "difficulty=easy matches no difficulty; there are <15 min fix (8)"),
        (["repo=pallets/*", "difficulty=>4 hours"], "difficulty=>4 hours leaves nothing of 1 instances, which"),
        (["id=sympy__sympy-33"], "no instance sympy__sympy-33; did you mean sympy__sympy-3?"),
        (["id=matplotlib*"], "id=matplotlib* matches none of 29 instances"),
        (["slice=40:50"], "slice=40:50 leaves nothing of 29 instances"),
        (["repo=sympy/*", "sample=9@1"], "sample=9@1 asks for more than the 8 instances there are"),
        (["slice=0:3 then id=sympy*"], "what slice=0:3 leaves of dataset x: id=sympy* matches none of 3"),
        (["repository=x/*"], "did you mean repo=x/*?"),
        (["django"], "'django' selects nothing; a term is one of: repo=django/*"),
        (["repo="], "'repo=': a value is missing, such as repo=django/*"),
        (["id=a|"], "'id=': a value is missing"),
        (["slice=5"], "expected START:END"),
        (["sample=0@1"], "expected SIZE@SEED"),
        (["slice=0:5", "slice=1:2"], "'slice=' is given twice"),
    ],
)  # fmt: skip
def test_a_term_that_cannot_be_used_is_named_with_the_mend(terms: list[str], said: str) -> None:
    assert said in fault(*terms)


def test_without_the_datasets_rows_a_difficulty_is_refused_with_what_gives_it() -> None:
    bare = [Candidate(one.instance_id, one.repo) for one in BENCHMARK]
    assert Selection.parse(["repo=pallets/*"]).choose(bare, "runs") == ["pallets__flask-0"]
    with pytest.raises(SelectionError, match="needs the dataset's rows: name them with --tasks"):
        Selection.parse(["difficulty=1-4 hours"]).choose(bare, "runs")


STRATA = st.tuples(st.sampled_from("abcdef"), st.sampled_from(DIFFICULTIES))
SIZES = st.dictionaries(STRATA, st.integers(1, 30), min_size=1)


@given(sizes=SIZES, share=st.floats(0, 1), seed=st.integers(0, 9), order=st.randoms(use_true_random=False))
def test_a_sample_has_each_strata_share_exactly_rounded(sizes, share, seed, order) -> None:  # type: ignore[no-untyped-def]
    population = [
        Candidate(f"{repo}{difficulty}{number}", repo, difficulty)
        for (repo, difficulty), count in sizes.items()
        for number in range(count)
    ]
    size = max(1, round(share * len(population)))
    drawn = sample(population, size, seed)
    assert len(drawn) == size
    counts = Counter((one.repo, one.difficulty) for one in population if one.instance_id in drawn)
    for stratum, count in sizes.items():
        assert abs(counts[stratum] - size * count / len(population)) < 1
    shuffled = population[:]
    order.shuffle(shuffled)
    assert sample(shuffled, size, seed) == drawn, "the rows' order decides nothing"


def test_another_seed_draws_others() -> None:
    assert len({tuple(chosen(f"sample=6@{seed}")) for seed in range(8)}) > 4
    assert chosen("sample=6") == chosen("sample=6@0")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
TERMS = st.one_of(TEXTS, st.builds(lambda key, value: f"{key}={value}", st.sampled_from(KEYS), TEXTS))


@given(st.lists(TERMS, max_size=4))
def test_whatever_is_typed_is_chosen_or_refused_in_a_line(texts: list[str]) -> None:
    try:
        ids = chosen(*(text for text in texts if not text.lstrip().startswith("file=")))
    except SelectionError:
        return
    assert ids
    assert ids == [one.instance_id for one in BENCHMARK if one.instance_id in set(ids)]


@given(st.lists(st.sampled_from([one.instance_id for one in BENCHMARK]), min_size=1, unique=True))
def test_ids_are_chosen_exactly_and_in_the_datasets_order(ids: list[str]) -> None:
    assert chosen(ids_term(ids)) == sorted(ids, key=[one.instance_id for one in BENCHMARK].index)
