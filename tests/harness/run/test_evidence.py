"""What a run keeps of its evidence, what policies see of it, and what is refused; no container is started here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import typer

from agents.budget import BudgetSpentError
from agents.errors import ProviderError
from agents.evidence.config import EvidenceConfig
from agents.evidence.issue_tests import IssueTest
from agents.evidence.run import UNPATCHED, Result, TestRuns, TreeRun, patch_key
from harness.commands.evaluate import report_end
from harness.config import Config, find_config, load_config, with_models, with_overrides
from harness.data.embeddings import embed_texts
from harness.data.instances import Dataset
from harness.errors import EXIT_INCOMPLETE, ConfigError, InputError
from harness.run.evidence import EvidenceStage, repeats_note
from harness.run.evidence_record import describe_evidence, evidence_notes, evidence_signals
from harness.run.examination import Examiner
from harness.run.interrupt import Stop
from harness.run.journal import Journal
from harness.run.open_run import OpenRun
from harness.run.pipeline import RunEnd
from harness.run.plan import plan, routing_notes
from harness.run.preflight import check_settings
from harness.run.rollout import Rollout, roll_out
from harness.run.test_writing import check_tests, open_writing, to_write, writing_config, writing_note
from harness.store.matrix import matrix_of_run
from harness.store.rows import Cell, EvidenceRow
from harness.store.run_folder import RunFolder, read_patch
from harness.store.store import Store
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

MODELS = SMALL, MEDIUM, LARGE = "scripted-small", "scripted-medium", "scripted-large"
BILLING = "polyswe__billing-201"
WRITTEN = IssueTest("medium:1", MEDIUM, "python3 check.py")
OWN = IssueTest("large's 1", LARGE, "python3 /tmp/repro.py", own=True)


def configured(**changes: object) -> Config:
    return with_overrides(load_config(find_config("sample-select")), changes)


def result(status: str) -> Result:
    return Result(status=status, seconds=1.0, output="")  # type: ignore[arg-type]


def evidence(patches: dict[str, str], passes: dict[str, list[IssueTest]], instance: str = BILLING) -> EvidenceRow:
    """Evidence in which each attempt passes the tests that are named."""
    tests = [WRITTEN, OWN]
    trees = {name: TreeRun(results={test.key: result("failed") for test in tests}) for name in UNPATCHED}
    for model, patch in patches.items():
        ends = {test.key: result("passed" if test in passes.get(model, []) else "failed") for test in tests}
        trees[patch_key(patch)] = TreeRun(results=ends)
    content = {
        "timeout": 30.0,
        "attempts": {model: patch_key(patch) for model, patch in patches.items()},
        "tests": [asdict(test) for test in tests],
        "runs": TestRuns(trees=trees).model_dump(mode="json"),
        "existing_since": {},
        "judge": None,
        "judged": {},
        "failed_writers": [],
    }
    return EvidenceRow(instance, "digest", content, seconds=5.0, cost_usd=0.25)


def test_what_cannot_be_gathered_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evidence.writers: 'sonnet' is not in the pool"):
        configured(**{"evidence.writers": ["sonnet"]})
    with pytest.raises(ConfigError, match=r"evidence.judge: 'sonnet' is not in the pool"):
        configured(**{"evidence.judge": "sonnet"})
    with pytest.raises(ConfigError, match=r"evidence.judge: it judges existing tests alone"):
        configured(**{"evidence.judge": LARGE})
    with pytest.raises(ConfigError, match="evidence: nothing to gather"):
        configured(evidence={})
    with pytest.raises(ConfigError, match="evidence: engine 'ray' cannot run the tests"):
        check_settings(configured(**{"run.engine": "ray"}))
    with pytest.raises(ConfigError, match="leaves out scripted-medium, which evidence needs"):
        with_models(configured(), [SMALL, LARGE])


def test_evidence_changes_no_key(sample: Dataset) -> None:
    assert plan(configured(), sample) == plan(configured(evidence=None), sample)


def test_a_policy_sees_of_an_attempt_what_was_known_before_the_next_one() -> None:
    patches = {SMALL: "a", LARGE: "b"}
    row = evidence(patches, {SMALL: [OWN], LARGE: [WRITTEN, OWN]})
    both = evidence_signals(row, patches)
    assert both is not None
    assert (both[SMALL]["tests_fixed"], both[SMALL]["own_tests_fixed"], both[SMALL]["tests_valid"]) == (0, 1, 2)
    # large's own test did not exist yet, and nobody had passed the written one
    alone = evidence_signals(row, {SMALL: "a"})
    assert alone is not None
    assert (alone[SMALL]["own_tests_fixed"], alone[SMALL]["tests_valid"]) == (0, 0)
    assert alone[SMALL]["tests_cost_usd"] == 0.25
    assert evidence_signals(row, {SMALL: "another patch"}) is None
    assert evidence_signals(row, {MEDIUM: "c"}) is None


def test_what_is_missing_at_the_end_is_said_with_its_cause(make_run: Callable[..., RunFolder], sample: Dataset) -> None:
    folder, config = make_run(only=[BILLING]), configured()
    assert config.evidence is not None
    writer = Cell(BILLING, MEDIUM)
    with Store(folder.store_path) as store, Journal(folder.path, []) as journal:
        run = OpenRun(config, sample, folder, store, Stop(), journal, whole=folder)
        stage = EvidenceStage(run, config.evidence, print)
        with open_writing(run, config.evidence) as writing:
            writing.store.failed(writer, "provider: auth", "key refused: check SOME_KEY")
        stage.failed[BILLING] = "container x was removed"
        cells = [row.cell for row in store.rows()]
        assert stage.missing(cells) == [
            f"1 of 2 test writings failed, e.g. {writer}: provider: auth: key refused: check SOME_KEY",
            f"no evidence on 1 of 1 instance, e.g. {BILLING}: container x was removed",
        ]
        assert stage.missing(cells[:0]) == []
        end = RunEnd(store.rows(), None, "", folder.path, stage.missing(cells))
    with pytest.raises(typer.Exit) as ended:
        report_end(end)
    assert ended.value.exit_code == EXIT_INCOMPLETE
    assert "repeated attempts have no signals from tests" in repeats_note(configured(**{"run.repeats": 2}))
    assert repeats_note(configured()) == repeats_note(configured(**{"run.repeats": 2, "evidence": None})) == ""


def test_a_writer_that_is_taken_out_is_neither_paid_nor_missed(
    make_run: Callable[..., RunFolder], sample: Dataset
) -> None:
    folder, both, one = make_run(only=[BILLING]), configured(), configured(**{"evidence.writers": [LARGE]})
    with Store(folder.store_path) as store, Journal(folder.path, []) as journal:
        run, fewer = (OpenRun(each, sample, folder, store, Stop(), journal, whole=folder) for each in (both, one))
        assert both.evidence is not None
        assert one.evidence is not None
        with open_writing(run, both.evidence) as writing:
            writing.store.failed(Cell(BILLING, MEDIUM), "provider: auth", "key refused")
            assert to_write(writing, [BILLING]) == [Cell(BILLING, LARGE), Cell(BILLING, MEDIUM)]
        with open_writing(fewer, one.evidence) as writing:
            assert to_write(writing, [BILLING]) == [Cell(BILLING, LARGE)]
        (line,) = EvidenceStage(fewer, one.evidence, print).missing([row.cell for row in store.rows()])
        assert line.startswith("no evidence on 1 of 1 instance")


@pytest.mark.parametrize(("judge", "known"), [(MEDIUM, {"test_bill": True}), (LARGE, {}), (None, {})])
def test_a_judge_is_not_taken_for_another_one(
    judge: str | None, known: dict[str, bool], make_run: Callable[..., RunFolder]
) -> None:
    row = evidence({SMALL: "a"}, {})
    row = replace(row, content={**row.content, "judge": MEDIUM, "judged": {"test_bill": True}})
    with Store(make_run(only=[BILLING]).store_path) as store:
        store.add_evidence(row, {})
        run: Any = SimpleNamespace(store=store)
        config, none = EvidenceConfig(judge=judge, test_timeout=30), cast(Any, None)
        examiner = Examiner(run, config, writing=none, models={}, backend=none, say=print, host=none)
        assert examiner._found_before(BILLING).judged == known


@pytest.fixture
def judged(make_run: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, bool]]:
    """Has a broken test judged in a run that has spent 6 USD, by a provider that fails as told."""
    folder, none = make_run(only=[BILLING]), cast(Any, None)
    test = IssueTest("tests/a.py", "existing", "run a", {"tests/a.py": "x"}, runner="pytest")
    trees = {name: TreeRun(results={test.key: result("passed")}) for name in UNPATCHED}
    runs = TestRuns(trees=trees | {patch_key("a"): TreeRun(results={test.key: result("failed")})})
    instance = SimpleNamespace(instance_id=BILLING, problem_statement="")
    origin: Any = SimpleNamespace(instance=instance, patches={SMALL: "a"})
    backend: Any = SimpleNamespace(budget=None, rates={})
    monkeypatch.setattr(Examiner, "_record", lambda *_: None)

    def judged(failure: ProviderError | None = None, earlier: int = 0, **run: float) -> dict[str, bool]:
        def asked(*_: object, **__: object) -> None:
            raise failure or AssertionError("the judge was asked")

        monkeypatch.setattr("harness.run.examination.judge", asked)
        config = configured(**{f"run.{name}": value for name, value in run.items()})
        open_run: Any = SimpleNamespace(config=config, whole=folder)
        settings, models = EvidenceConfig(judge=LARGE), cast(Any, {LARGE: None})
        examiner = Examiner(open_run, settings, none, models, backend, print, host=none)
        examiner.judge_failures.extend([ProviderError("server", "it is down")] * earlier)
        found: Any = SimpleNamespace(tests=[test], runs=runs, judged={})
        examiner._judge(LARGE, origin, found)
        return dict(found.judged)

    return judged


def test_a_judge_is_asked_within_the_cost_limit_and_not_again_and_again(
    judged: Callable[..., dict[str, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BudgetSpentError, match=r"cost limit of \$6 is reached"):
        judged(max_cost=6)
    with pytest.raises(ProviderError, match="no key"):
        judged(ProviderError("auth", "no key"), max_cost=7, earlier=2)
    with pytest.raises(ProviderError, match="it is down"):
        judged(earlier=3)
    # refused for what it says, as it would be at every start: that must not leave the instance without evidence
    assert judged(ProviderError("content-policy", "refused")) == {"tests/a.py": False}
    assert "its provider refuses a question (content-policy)" in capsys.readouterr().out


def test_signals_are_replaced_together_and_leave_the_others(make_run: Callable[..., RunFolder], tmp_path: Path) -> None:
    folder = make_run(only=[BILLING])
    cell = Cell(BILLING, SMALL)
    row = evidence({SMALL: "a"}, {})
    with Store(folder.store_path) as store:
        store.add_signals(cell, {"calls_said": 3.0})
        store.add_evidence(row, {cell: {"tests_fixed": 2.0, "existing_broken": 1.0}})
        store.add_evidence(row, {cell: {"tests_fixed": 1.0, "existing_broken": float("nan")}})
        found = store.row(cell)
        assert found is not None
        assert found.signals == {"calls_said": 3.0, "tests_fixed": 1.0}
        assert store.evidence() == {BILLING: row}
        matrix = matrix_of_run(store.rows(), [BILLING], MODELS)
        assert matrix.signals["tests_fixed"][0].tolist()[0] == 1.0
        store._db.execute("DROP TABLE evidence")
    with Store(folder.store_path, read_only=True) as store:  # of an earlier version
        assert store.evidence() == {}


def test_a_routed_select_waits_for_the_evidence_and_goes_by_it(
    make_run: Callable[..., RunFolder], sample: Dataset, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((60, 3)) < [0.2, 0.5, 0.8]).astype(float)
    outcomes = OutcomeMatrix.build([f"r__{i}" for i in range(60)], MODELS, right, np.ones((60, 3)))
    X = np.repeat(embed_texts(["issue"]), 60, axis=0)
    router = Router(make_policy("select", members=2).fit(X, outcomes), MODELS, Embedder())
    folder = make_run(only=[BILLING])
    one = type(sample)(**{**vars(sample), "instances": tuple(i for i in sample.instances if i.instance_id == BILLING)})
    with Store(folder.store_path) as store:
        rows = store.rows()
        patches = {row.model: read_patch(folder, row.cell) for row in rows if row.model != SMALL}
        assert roll_out(router, one, rows, folder) == {BILLING: Rollout((LARGE, MEDIUM), LARGE)}
        waiting = roll_out(router, one, rows, folder, needs_evidence=True)
        assert waiting == {BILLING: Rollout((LARGE, MEDIUM), None)}
        store.add_evidence(evidence(patches, {MEDIUM: [WRITTEN]}), {})
    chosen = roll_out(router, one, rows, folder, needs_evidence=True)
    assert chosen == {BILLING: Rollout((LARGE, MEDIUM), MEDIUM, paid_usd=0.25, paid_seconds=5.0)}


def test_a_select_without_tests_is_said_before_the_run(tmp_path: Path) -> None:
    X, right = np.repeat(embed_texts(["issue"]), 20, axis=0), np.eye(20, 3)
    outcomes = OutcomeMatrix.build([f"r__{i}" for i in range(20)], MODELS, right, np.ones((20, 3)))
    checkpoint = tmp_path / "select.safetensors"
    Router(make_policy("select").fit(X, outcomes), MODELS, Embedder()).save(checkpoint)
    routed = {"run.mode": "routed", "router.checkpoint": str(checkpoint)}
    assert routing_notes(configured(**routed)) == []
    (note,) = routing_notes(configured(**routed, evidence=None))
    assert "chooses among attempts by tests, but none are written" in note


def test_tests_that_other_settings_wrote_are_not_mixed_in(sample: Dataset, tmp_path: Path) -> None:
    config = configured()
    assert config.evidence is not None
    folder = RunFolder(tmp_path / "run")
    folder.tests.path.mkdir(parents=True)
    with Store(folder.tests.store_path) as store:
        store.plan(plan(writing_config(config, config.evidence), sample))
        store._db.execute("UPDATE cells SET state = 'agent done'")
    check_tests(config, sample, folder)
    check_tests(configured(**{"evidence.own_tests": False}), sample, folder)
    with pytest.raises(InputError, match="tests that were written with other settings"):
        check_tests(configured(**{"evidence.step_limit": 7}), sample, folder)


def test_the_price_of_test_writing_is_said_before_the_run(sample: Dataset, tmp_path: Path) -> None:
    note = writing_note(configured(), sample, RunFolder(tmp_path / "run"))
    assert note.startswith("writing tests (15 instances × 2 test writers) costs up to $15.00 more")
    assert writing_note(configured(evidence=None), sample, RunFolder(tmp_path / "run")) == ""


def test_an_existing_test_that_passes_by_force_is_shown_as_faked(make_run: Callable[..., RunFolder]) -> None:
    with Store(make_run(only=[BILLING]).store_path) as store:
        small = next(row for row in store.rows() if row.model == SMALL)
    test = IssueTest("tests/a.py", "existing", "run a", {}, runner="pytest")

    def tree(control: str) -> dict[str, Any]:
        ran = result("passed").model_copy(update={"passed": ("a",), "control": result(control)})
        return TreeRun(results={test.key: ran}).model_dump(mode="json")

    row = evidence({SMALL: "a", LARGE: "b"}, {})
    trees = dict.fromkeys(UNPATCHED, tree("failed")) | {patch_key("a"): tree("passed"), patch_key("b"): tree("failed")}
    row = replace(row, content={**row.content, "tests": [asdict(test)], "runs": {"trees": trees}})
    assert "unpatched passed, scripted-small faked, scripted-large passed" in describe_evidence(row, small)


def test_evidence_can_be_looked_at(make_run: Callable[..., RunFolder]) -> None:
    folder = make_run(only=[BILLING])
    with Store(folder.store_path) as store:
        rows = store.rows()
    row = evidence({SMALL: "a", LARGE: "b"}, {LARGE: [WRITTEN]})
    text = describe_evidence(row, next(row for row in rows if row.model == SMALL))
    assert "medium:1 (by scripted-medium): python3 check.py" in text
    assert "unpatched failed, scripted-small failed, scripted-large passed" in text
    first, *others = evidence_notes({}, rows)
    assert first.startswith("tests written from the issues: none")
    assert others == ["1 instance without evidence yet: rerun the command to gather it"]
    (first,) = evidence_notes({BILLING: row}, rows, "pretended ")
    assert "1 by scripted-medium; they cost pretended $0.25," in first, "an attempt's own test is no writer's"
    repeated = [*rows, replace(rows[0], attempt=2)]
    assert "repeated ones have no signals" in evidence_notes({BILLING: row}, repeated)[1]
    untested = replace(row, content={**row.content, "tests": []})
    assert evidence_notes({BILLING: untested}, rows)[1:] == ["1 instance without any test"]
