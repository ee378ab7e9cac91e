"""A package is written whole or not at all, and no verdict in it is believed without its log."""

from __future__ import annotations

import gzip
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
from harness.errors import EXIT_FINDINGS, EXIT_OK, InputError
from harness.grading.verdict import Verdict
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.store.run_folder import RunFolder
from harness.store.store import Cell, Store
from harness.submission.check import Checked, Datasets, check_package, find_packages
from harness.submission.findings import RefusedError
from harness.submission.public import _instance_of
from harness.submission.secrets import secrets_in
from harness.submission.submit import Submission, submit

if TYPE_CHECKING:
    from harness.data.instances import Dataset

LARGE = "scripted-large"
IDS = [str(row["instance_id"]) for row in load_rows("sample")]
MakeRun = Callable[..., RunFolder]


@pytest.fixture
def package(make_run: MakeRun) -> Submission:
    return submit(make_run().path, "Sample System", model="large")


def checked(path: Path) -> Checked:
    (found,) = find_packages(path)
    return check_package(found, Datasets())


def entry_of(package: Submission) -> Path:
    return find_packages(package.path)[0].entry


def change_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def left_behind(run: Path) -> list[str]:
    folder = run / "submission"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_package_holds_both_trees_and_passes_its_own_check(package: Submission) -> None:
    result = checked(package.path)
    assert result.findings.faults == []
    assert result.regraded == len(IDS) - 1  # an empty patch has no log
    entry = entry_of(package)
    assert entry.parent.name == "sample"
    assert entry.name.endswith("_Sample-System")
    lists = json.loads((entry / "results" / "results.json").read_text())
    assert lists["no_generation"] == [IDS[3]]
    assert len(lists["resolved"]) == result.resolved == 11
    by_repo = json.loads((entry / "results" / "resolved_by_repo.json").read_text())
    assert sum(count["total"] for count in by_repo.values()) == 15
    details = json.loads((entry / "per_instance_details.json").read_text())
    assert details[IDS[0]] == {"resolved": True, "cost": 3.0, "api_calls": 7}
    predictions = [
        json.loads(line) for line in (package.path / "submission-repo/all_preds.jsonl").read_text().splitlines()
    ]
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


def forge_results(entry: Path, public: Path) -> None:
    change_json(entry / "results/results.json", lambda lists: lists["resolved"].append(IDS[4]))  # type: ignore[attr-defined]


def forge_report(entry: Path, public: Path) -> None:
    (public / "logs" / IDS[4] / "report.json").write_text(json.dumps({IDS[4]: {"resolved": True}}))


def forge_everything_but_the_log(entry: Path, public: Path) -> None:
    forge_results(entry, public)
    forge_report(entry, public)
    change_json(entry / "per_instance_details.json", lambda d: d[IDS[4]].update(resolved=True))  # type: ignore[attr-defined]


def swap_patch(entry: Path, public: Path) -> None:
    (public / "logs" / IDS[0] / "patch.diff").write_text("diff --git a/y b/y\n")


def drop_log(entry: Path, public: Path) -> None:
    (public / "logs" / IDS[0] / "test_output.txt").unlink()


def drop_trajectory(entry: Path, public: Path) -> None:
    (public / "trajs" / f"{IDS[1]}.traj.json").unlink()


def second_attempt(entry: Path, public: Path) -> None:
    file = public / "all_preds.jsonl"
    file.write_text(file.read_text() + file.read_text().splitlines()[2] + "\n")


def drop_prediction(entry: Path, public: Path) -> None:
    file = public / "all_preds.jsonl"
    file.write_text("".join(line + "\n" for line in file.read_text().splitlines()[1:]))


def tell_hints(entry: Path, public: Path) -> None:
    name = next(row["FAIL_TO_PASS"] for row in load_rows("sample") if row["instance_id"] == IDS[5])
    test = (json.loads(name) if isinstance(name, str) else name)[0]
    told = {"messages": [{"role": "user", "content": f"make {test} pass"}, {"role": "assistant", "content": ""}]}
    (public / "trajs" / f"{IDS[5]}.traj.json").write_text(json.dumps(told))


def leak_key(entry: Path, public: Path) -> None:
    (public / "trajs" / f"{IDS[6]}.traj.json").write_text('{"messages": [], "key": "sk-ant-' + "a1" * 20 + '"}')


def oversize(entry: Path, public: Path) -> None:
    with (public / "trajs" / f"{IDS[7]}.traj.json").open("r+b") as file:
        file.truncate(51 * 1024 * 1024)


def break_metadata(entry: Path, public: Path) -> None:
    (entry / "metadata.yaml").write_text("info: [")


def wrong_breakdown(entry: Path, public: Path) -> None:
    change_json(entry / "results/resolved_by_repo.json", lambda table: next(iter(table.values())).update(total=9))  # type: ignore[call-overload]


def tags_of_nothing(entry: Path, public: Path) -> None:
    change_metadata(entry, None)


def tags_of_text(entry: Path, public: Path) -> None:
    change_metadata(entry, "2+")


def tags_of_a_list(entry: Path, public: Path) -> None:
    change_metadata(entry, [{"attempts": "1"}])


def change_metadata(entry: Path, system: object) -> None:
    content = yaml.safe_load((entry / "metadata.yaml").read_text())
    content["tags"]["system"] = system
    (entry / "metadata.yaml").write_text(yaml.safe_dump(content))


def impossible_date(entry: Path, public: Path) -> None:
    (entry / "metadata.yaml").write_text("info: {name: x, site: 2026-13-45}")


def add_prediction(public: Path, row: object) -> None:
    file = public / "all_preds.jsonl"
    file.write_text(file.read_text() + json.dumps(row) + "\n")


def id_of_a_list(entry: Path, public: Path) -> None:
    add_prediction(public, {"instance_id": [1], "model_name_or_path": "x", "model_patch": ""})


def name_of_a_number(entry: Path, public: Path) -> None:
    add_prediction(public, {"instance_id": "a", "model_name_or_path": 7, "model_patch": {}})


def half_a_character(entry: Path, public: Path) -> None:
    add_prediction(public, {"instance_id": "a", "model_name_or_path": "x", "model_patch": "\ud800"})


def predictions_of_bytes(entry: Path, public: Path) -> None:
    (public / "all_preds.jsonl").write_bytes(b"\xff\xfe")


def half_a_log(entry: Path, public: Path) -> None:
    log = public / "logs" / IDS[0] / "test_output.txt"
    log.with_name("test_output.txt.gz").write_bytes(gzip.compress(log.read_bytes())[:-12])
    log.unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (forge_results, f"results.json says resolved, its log does not: {IDS[4]}"),
        (forge_report, f"report.json says resolved, the test output says otherwise: {IDS[4]}"),
        (forge_everything_but_the_log, f"results.json says resolved, its log does not: {IDS[4]}"),
        (swap_patch, f"patch.diff is not the prediction's patch: {IDS[0]}"),
        (drop_log, f"report.json without a test output: {IDS[0]}"),
        (drop_trajectory, f"no trajectory in trajs/ of: {IDS[1]}"),
        (second_attempt, f"{IDS[2]} a second time"),
        (drop_prediction, f"no prediction of: {IDS[0]}"),
        (tell_hints, f"names of the hidden tests of: {IDS[5]}"),
        (leak_key, "Anthropic key"),
        (oversize, "51 MB, the limit is 50 MB"),
        (break_metadata, "metadata.yaml: not valid YAML"),
        (wrong_breakdown, "resolved_by_repo.json contradicts"),
        (tags_of_nothing, "tags.system.attempts is None"),
        (tags_of_text, "tags.system is not a table"),
        (tags_of_a_list, "tags.system is not a table"),
        (impossible_date, "metadata.yaml: not valid YAML"),
        (id_of_a_list, "line 16: instance_id not text"),
        (name_of_a_number, "line 16: model_name_or_path, model_patch not text"),
        (half_a_character, "line 16: model_patch not text"),
        (predictions_of_bytes, "all_preds.jsonl: not readable as text"),
        (half_a_log, f"test_output.txt.gz is damaged: {IDS[0]}"),
    ],
)
def test_a_damaged_package_is_refused_by_name(
    package: Submission, damage: Callable[[Path, Path], None], told: str
) -> None:
    damage(entry_of(package), package.path / "submission-repo")
    faults = checked(package.path).findings.faults
    assert any(told in fault for fault in faults), faults


def test_ids_with_dots_find_their_trajectories(tmp_path: Path) -> None:
    names = ["mrdoob__three.js-25687.traj.json", "mrdoob__three.js-26589", "django__django-1.traj.json"]
    known = dict.fromkeys(["mrdoob__three.js-25687", "mrdoob__three.js-26589", "django__django-1"])
    assert [_instance_of(tmp_path / name, known) for name in names] == list(known)
    assert _instance_of(tmp_path / "x__y.z-1.traj.json", known) not in known


@pytest.mark.parametrize("forget", ["the row", "how its log is read"])
def test_a_forged_verdict_is_no_sound_one_where_nothing_can_be_graded(package: Submission, forget: str) -> None:
    class Partly(Datasets):
        def rows(self, split: str) -> dict[str, object] | None:  # type: ignore[override]
            if forget == "the row":
                self.reasons[split] = "not at hand"
                return None
            return {
                str(r["instance_id"]): {k: v for k, v in r.items() if k != "log_parser"} for r in load_rows("sample")
            }

    (found,) = find_packages(package.path)
    honest = check_package(found, Partly())
    assert (honest.findings.faults, honest.regraded) == ([], 0)
    assert any("14 logs could not be graded again" in line for line in honest.findings.lines())
    forge_results(entry_of(package), package.path / "submission-repo")
    faults = check_package(found, Partly()).findings.faults
    assert f"results.json says resolved, its report.json does not: {IDS[4]}" in faults


def test_the_command_ends_with_1_for_a_forged_verdict_and_0_for_an_honest_one(package: Submission) -> None:
    command = [sys.executable, "-m", "harness", "submit", "--check", str(package.path)]
    assert subprocess.run(command, capture_output=True).returncode == EXIT_OK
    forge_everything_but_the_log(entry_of(package), package.path / "submission-repo")
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == EXIT_FINDINGS
    assert IDS[4] in ended.stdout


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


def test_keys_inside_of_archives_are_found(tmp_path: Path) -> None:
    path = tmp_path / "test_output.txt.gz"
    path.write_bytes(gzip.compress(b"fine\nkey sk-ant-" + b"a1" * 20))
    assert list(secrets_in(path, {})) == ["line 2: Anthropic key"]
    path.write_bytes(path.read_bytes()[:-9])
    assert list(secrets_in(path, {})) == ["a damaged archive, which cannot be searched for keys"]


def test_a_verdict_altered_in_the_store_is_refused_and_nothing_is_left(make_run: MakeRun) -> None:
    run = make_run()
    with Store(run.store_path) as store:
        from harness.grading.verdict import Grade

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


def test_a_run_of_a_version_with_other_settings_is_told_apart(make_run: MakeRun) -> None:
    frozen = make_run().path / "run.yaml"
    frozen.write_text(frozen.read_text().replace("step_limit:", "step_limit_of_old:"))
    with pytest.raises(InputError, match=r"settings that this version does not know .*step_limit_of_old"):
        submit(frozen.parent, "S", model="large")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "3 models .* choose with --model"),
        ({"model": "huge"}, "no model is called 'huge'"),
        ({"model": "large", "routed": True}, "exclude each other"),
        ({"model": "large", "system": "../../etc"}, "a system's name is"),
        ({"model": "large", "split": "../../../evil"}, "the name of a folder under evaluation/"),
        ({"routed": True}, "cross-fitted row is an estimate"),
    ],
)
def test_what_cannot_be_a_submission_is_told(make_run: MakeRun, options: dict[str, object], told: str) -> None:
    run = make_run().path
    with pytest.raises((InputError, RefusedError), match=told):
        submit(run, **{"system": "S", **options})  # type: ignore[arg-type]
    assert left_behind(run) == []


def test_an_empty_run_and_no_run_are_told_apart(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("empty", unfinished=[(i, m) for i in IDS for m in ("scripted-small", "scripted-medium", LARGE)])
    with pytest.raises(RefusedError, match=r"15 attempts have no verdict|15 attempts with no verdict"):
        submit(run.path, "S", model="large")
    with pytest.raises(InputError, match="holds no run"):
        submit(tmp_path / "nothing", "S", model="large")


def test_a_routed_package_has_one_name_every_model_in_its_tags_and_a_router_that_knew_nothing(
    make_run: MakeRun, tmp_path: Path
) -> None:
    from harness.fitting import fit_router
    from harness.importers import write_outcomes_csv
    from harness.store.matrix import matrix_of_run

    training, run = IDS[:8], make_run("rest", only=IDS[8:])
    known = make_run("known", only=training)
    models = ["scripted-small", "scripted-medium", LARGE]
    for name, folder, ids in (("apart", known, training), ("leaky", run, IDS[8:])):
        with Store(folder.store_path) as store:
            write_outcomes_csv(matrix_of_run(store.rows(), ids, models), tmp_path / f"{name}.csv")
        fit_router([str(tmp_path / f"{name}.csv")], "sample", tmp_path / f"{name}.safetensors", clusters=2)
    with pytest.raises(RefusedError, match="fitted on the outcomes of 7 of these instances"):
        submit(run.path, "R", routed=True, checkpoint=tmp_path / "leaky.safetensors", partial=True)
    done = submit(run.path, "R", routed=True, checkpoint=tmp_path / "apart.safetensors", partial=True)
    result = checked(done.path)
    assert result.findings.faults == []
    assert any("7 of 15" in gap for gap in result.findings.gaps)
    entry = entry_of(done)
    assert yaml.safe_load((entry / "metadata.yaml").read_text())["tags"]["model"] == [f"openai/{m}" for m in models]
    assert "## Routing" in (entry / "README.md").read_text()


def test_a_checkpoint_that_does_not_say_what_it_was_fitted_on_decides_nothing(make_run: MakeRun) -> None:
    from harness.submission.collect import unfit

    class Old:
        provenance: dict[str, object] = {}  # noqa: RUF012

    assert "does not say" in unfit(Old(), IDS, Path("old.safetensors"))[0]  # type: ignore[arg-type]


def test_entries_of_others_are_read_and_their_contradictions_named(tmp_path: Path) -> None:
    entry = tmp_path / "evaluation" / "sample" / "20250101_someone"
    (entry / "results").mkdir(parents=True)
    lists = {"no_generation": [IDS[0]], "no_logs": [], "resolved": [IDS[0], IDS[1], IDS[1], "django__django-1"]}
    (entry / "results" / "results.json").write_text(json.dumps(lists))
    faults = checked(tmp_path).findings.faults
    assert any(f"twice in 'resolved': {IDS[1]}" in fault for fault in faults)
    assert any(f"in 'resolved' and in 'no_generation': {IDS[0]}" in fault for fault in faults)
    assert any("not among the 15 instances of the dataset: django__django-1" in fault for fault in faults)
    assert any("metadata.yaml is missing" in fault for fault in faults)
    with pytest.raises(InputError, match="this is no package"):
        find_packages(entry / "results")


def test_every_recorded_submission_is_checked_without_a_crash(shared_data: Path) -> None:
    packages = find_packages(shared_data / "outcomes" / "experiments")
    datasets = Datasets(str(shared_data / "tasks" / "swebench_verified.jsonl"))
    results = [check_package(package, datasets) for package in packages]
    assert len(results) == 134
    assert {result.name for result in results if result.findings.faults} == set()
    assert all(any("could not be derived" in line for line in result.findings.lines()) for result in results)


@pytest.mark.docker
def test_swebench_eval_takes_the_predictions_of_a_real_run_and_agrees(sample: Dataset, tmp_path: Path) -> None:
    few = ["polyswe__spanset-303", "polyswe__rotator-402"]
    config = with_overrides(load_config(find_config("sample")), {"dataset.instances": few})
    folder = RunFolder(tmp_path / "run")
    for _ in range(3):  # what the engine failed at is done at the next start
        if not (missing := evaluate(config, folder, stop=Stop()).missing):
            break
    assert missing == []
    done = submit(folder.path, "S", model="medium", partial=True)
    assert checked(done.path).findings.faults == []
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
    lists = json.loads((entry_of(done) / "results" / "results.json").read_text())
    assert official["resolved_ids"] == lists["resolved"]
