"""A package is written whole or not at all, from a run that is whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from harness.config import find_config, load_config, with_overrides
from harness.data.rows import load_rows
from harness.errors import InputError
from harness.fitting import FitSettings, fit_router
from harness.grading.verdict import Grade, Verdict
from harness.importers import write_outcomes_csv
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.store.matrix import matrix_of_run
from harness.store.rows import Cell
from harness.store.run_folder import RunFolder
from harness.store.store import Store
from harness.submission.check import Checked
from harness.submission.collect import unfit
from harness.submission.findings import RefusedError
from harness.submission.packages import find_packages
from harness.submission.submit import submit

if TYPE_CHECKING:
    from harness.data.instances import Dataset

LARGE = "scripted-large"
IDS = [str(row["instance_id"]) for row in load_rows("sample")]
MakeRun = Callable[..., RunFolder]
Check = Callable[[Path], Checked]


def left_behind(run: Path) -> list[str]:
    folder = run / "submission"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_package_holds_both_trees_and_passes_its_own_check(package: Path, entry: Path, check: Check) -> None:
    result = check(package)
    assert result.findings.faults == []
    assert result.regraded == len(IDS) - 1  # an empty patch has no log
    assert entry.parent.name == "sample"
    assert entry.name.endswith("_Sample-System")
    lists = json.loads((entry / "results" / "results.json").read_text())
    assert lists["no_generation"] == [IDS[3]]
    assert len(lists["resolved"]) == result.resolved == 11
    by_repo = json.loads((entry / "results" / "resolved_by_repo.json").read_text())
    assert sum(count["total"] for count in by_repo.values()) == 15
    details = json.loads((entry / "per_instance_details.json").read_text())
    assert details[IDS[0]] == {"resolved": True, "cost": 3.0, "api_calls": 7}
    predictions = [json.loads(line) for line in (package / "submission-repo/all_preds.jsonl").read_text().splitlines()]
    assert {p["model_name_or_path"] for p in predictions} == {"Sample-System"}
    assert [p["instance_id"] for p in predictions] == IDS
    metadata = yaml.safe_load((entry / "metadata.yaml").read_text())
    assert metadata["info"]["name"] == "Sample System"
    assert metadata["tags"]["model"] == ["openai/scripted-large"]


def test_what_nobody_filled_in_is_named_and_what_was_is_not(make_run: MakeRun, tmp_path: Path) -> None:
    about = tmp_path / "about.yaml"
    about.write_text("report: https://example.org/report\nauthors: A. Nonymous\norg: Nowhere\n")
    gaps = submit(make_run().path, "S", model="large", about=about).checked.findings.gaps
    assert any("info.site" in gap for gap in gaps)
    assert not any("info.report" in gap or "info.authors" in gap or "tags.org" in gap for gap in gaps)
    assert any("scripted" in gap for gap in gaps)


def test_only_its_own_package_is_replaced_and_only_when_asked(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run().path
    first = submit(run, "S", model="large")
    (first.path / "mine.txt").write_text("edited")
    with pytest.raises(InputError, match="--overwrite"):
        submit(run, "S", model="large")
    assert (first.path / "mine.txt").exists()
    assert submit(run, "S", model="large", overwrite=True).path == first.path
    assert not (first.path / "mine.txt").exists()
    assert left_behind(run) == [first.path.name]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="no package"):
        submit(run, "S", model="large", out=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").exists()
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for place in (tmp_path / "link", tmp_path / "mine" / "thesis.tex"):
        with pytest.raises(InputError, match="no folder of its own"):
            submit(run, "S", model="large", out=place)
    with pytest.raises(InputError, match="cannot be made"):
        submit(run, "S", model="large", out=tmp_path / "mine" / "thesis.tex" / "package")


def test_the_value_of_a_configured_key_is_found_in_any_file(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "a-key-of-no-known-shape")
    log = run.cell_dir(Cell(IDS[0], LARGE)) / "test_output.txt"
    log.write_text(log.read_text() + "\nDEBUG a-key-of-no-known-shape\n")
    with pytest.raises(RefusedError, match=r"the value of \$SOME_PROVIDER_API_KEY") as refused:
        submit(run.path, "S", model="large")
    assert "a-key-of-no-known-shape" not in str(refused.value)
    assert left_behind(run.path) == []


def test_keys_of_the_whole_pool_are_known_by_their_variables_names(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    frozen = yaml.safe_load((run.path / "run.yaml").read_text())
    frozen["config"]["pool"][0]["api_key_env"] = "MY_OWN_NAME"  # scripted-small, whose attempts are not submitted
    (run.path / "run.yaml").write_text(yaml.safe_dump(frozen))
    monkeypatch.setenv("MY_OWN_NAME", "a-key-of-no-known-shape")
    log = run.cell_dir(Cell(IDS[0], LARGE)) / "test_output.txt"
    log.write_text(log.read_text() + "\nDEBUG a-key-of-no-known-shape\n")
    with pytest.raises(RefusedError, match=r"the value of \$MY_OWN_NAME"):
        submit(run.path, "S", model="large")


def test_a_verdict_altered_in_the_store_is_refused_and_nothing_is_left(make_run: MakeRun) -> None:
    run = make_run()
    with Store(run.store_path) as store:
        store.graded(Cell(IDS[4], LARGE), Grade(Verdict.RESOLVED))
    with pytest.raises(RefusedError, match=f"its log does not: {IDS[4]}"):
        submit(run.path, "S", model="large")
    assert not (run.path / "submission").exists()


def test_missing_cells_logs_and_a_partial_run_are_all_named_at_once(make_run: MakeRun) -> None:
    run = make_run(only=IDS[:6], unfinished=[(IDS[0], LARGE)])
    (run.cell_dir(Cell(IDS[1], LARGE)) / "test_output.txt").unlink()
    shutil.rmtree(run.cell_dir(Cell(IDS[2], LARGE)))
    with pytest.raises(RefusedError) as refused:
        submit(run.path, "S", model="large")
    text = str(refused.value)
    assert "6 of the 15 instances" in text
    assert f"no verdict (container): {IDS[0]} / {LARGE}" in text
    assert f"no test_output.txt: {IDS[1]} / {LARGE}" in text
    assert f"no patch.diff and no trajectory.json and no report.json and no test_output.txt: {IDS[2]}" in text
    assert left_behind(run.path) == []


def test_a_run_of_another_version_of_the_instances_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    with Store(run.store_path) as store:
        store._db.execute("UPDATE cells SET key = 'another.key' WHERE instance_id = ?", (IDS[8],))
    with pytest.raises(RefusedError, match=f"another version of the instance: {IDS[8]}"):
        submit(run.path, "S", model="large")


def test_a_run_with_settings_of_another_version_is_refused(make_run: MakeRun) -> None:
    frozen = make_run().path / "run.yaml"
    frozen.write_text(frozen.read_text().replace("step_limit:", "step_limit_of_old:"))
    with pytest.raises(InputError, match=r"settings that this version does not know .*step_limit_of_old"):
        submit(frozen.parent, "S", model="large")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "3 models .* choose with --model"),
        ({"model": "huge"}, "no model is called 'huge'"),
        ({"model": "large", "routed": True}, "exclude each other"),
        ({"model": "large", "system": "../../etc"}, "a system's name is"),
        ({"model": "large", "split": "../../../evil"}, "the name of a folder under evaluation/"),
        ({"routed": True}, "cross-fitted row is an estimate"),
    ],
)
def test_what_cannot_be_a_submission_is_refused(make_run: MakeRun, options: dict[str, object], message: str) -> None:
    run = make_run().path
    with pytest.raises((InputError, RefusedError), match=message):
        submit(run, **{"system": "S", **options})  # type: ignore[arg-type]
    assert left_behind(run) == []


def test_an_empty_run_and_no_run_are_refused_for_their_own_reasons(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("empty", unfinished=[(i, m) for i in IDS for m in ("scripted-small", "scripted-medium", LARGE)])
    with pytest.raises(RefusedError, match=r"15 attempts with no verdict"):
        submit(run.path, "S", model="large")
    with pytest.raises(InputError, match="holds no run"):
        submit(tmp_path / "nothing", "S", model="large")


def test_a_routed_package_has_one_name_every_model_in_its_tags_and_a_router_that_knew_nothing(
    make_run: MakeRun, tmp_path: Path, check: Check
) -> None:
    training, run = IDS[:8], make_run("rest", only=IDS[8:])
    known = make_run("known", only=training)
    models = ["scripted-small", "scripted-medium", LARGE]
    for name, folder, ids in (("apart", known, training), ("leaky", run, IDS[8:])):
        with Store(folder.store_path) as store:
            write_outcomes_csv(matrix_of_run(store.rows(), ids, models), tmp_path / f"{name}.csv")
        fit_router([str(tmp_path / f"{name}.csv")], "sample", tmp_path / f"{name}.safetensors", FitSettings(clusters=2))
    with pytest.raises(RefusedError, match="fitted on the outcomes of 7 of these instances"):
        submit(run.path, "R", routed=True, checkpoint=tmp_path / "leaky.safetensors", partial=True)
    done = submit(run.path, "R", routed=True, checkpoint=tmp_path / "apart.safetensors", partial=True)
    result = check(done.path)
    assert result.findings.faults == []
    assert any("7 of 15" in gap for gap in result.findings.gaps)
    entry = find_packages(done.path)[0].entry
    assert yaml.safe_load((entry / "metadata.yaml").read_text())["tags"]["model"] == [f"openai/{m}" for m in models]
    assert "## Routing" in (entry / "README.md").read_text()


def test_a_checkpoint_that_does_not_say_what_it_was_fitted_on_decides_nothing(make_run: MakeRun) -> None:
    class Old:
        provenance: dict[str, object] = {}  # noqa: RUF012

    assert "does not say" in unfit(Old(), IDS, Path("old.safetensors"))[0]  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.docker
def test_swebench_eval_takes_the_predictions_of_a_real_run_and_agrees(
    sample: Dataset, tmp_path: Path, check: Check
) -> None:
    few = ["polyswe__spanset-303", "polyswe__rotator-402"]
    config = with_overrides(load_config(find_config("sample")), {"dataset.instances": few})
    folder = RunFolder(tmp_path / "run")
    for _ in range(3):  # what the engine failed at is done at the next start
        if not (missing := evaluate(config, folder, stop=Stop()).missing):
            break
    assert missing == []
    done = submit(folder.path, "S", model="medium", partial=True)
    assert check(done.path).findings.faults == []
    shutil.copyfile(folder.path / "dataset.jsonl", tmp_path / "data.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "data.jsonl").read_text().splitlines()]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    command = [
        str(Path(sys.executable).parent / "swebench"), "eval", "data.json",
        "-p", str(done.path / "submission-repo" / "all_preds.jsonl"), "--run-id", "uses", "-j", "2",
    ]  # fmt: skip
    for _ in range(3):  # its closing report fails when any container on the machine vanishes while it lists them
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        reports = list(tmp_path.glob("*.uses.json"))
        if reports:
            break
    assert reports, ended.stderr
    official = json.loads(reports[0].read_text())
    assert official["submitted_instances"] == 2
    lists = json.loads((find_packages(done.path)[0].entry / "results" / "results.json").read_text())
    assert official["resolved_ids"] == lists["resolved"]
