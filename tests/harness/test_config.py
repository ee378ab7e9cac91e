"""A configuration that means something else than it says must not run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.config import CONFIGS, Config, find_config, load_config, parse_settings, with_overrides
from harness.config.reference import json_schema, markdown
from harness.config.starter import starter
from harness.config.tree import RouterConfig
from harness.errors import ConfigError

MINIMAL = """
dataset: {name: sample}
pool:
  - {name: a, model: openai/a, free: true}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_configuration_that_comes_with_the_product_is_valid(name: str) -> None:
    assert load_config(find_config(name)).pool


def test_the_verified_configuration_names_key_variables_and_never_keys() -> None:
    pool = load_config(find_config("verified")).pool
    assert all(model.api_key_env for model in pool)
    assert "sk-" not in (CONFIGS / "verified.yaml").read_text()


@pytest.mark.parametrize(
    ("extra", "culprit", "mend"),
    [
        ("run: {agent_worker: 3}", "run.agent_worker", "'agent_workers'"),
        ("run: {MAX_COST: 3}", "run.MAX_COST", "'max_cost'"),
        ("agent: {retries: 3}", "agent.retries", "agent.retry.max_attempts"),
        ("runs: {}", "runs", "'run'"),
        ("agent: {step_limits: 3}", "agent.step_limits", "'step_limit'"),
        ("agent: {retry: {max_attempt: 3}}", "agent.retry.max_attempt", "'max_attempts'"),
        ("out: {zzz: 1}", "out.zzz", "run_id"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(
    tmp_path: Path, extra: str, culprit: str, mend: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, MINIMAL + extra))
    assert f"'{culprit}'" in str(error.value)
    assert mend in str(error.value)
    assert "\n" not in str(error.value)


def test_a_variable_in_a_path_is_replaced_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/scratch")
    for path in ("$SCRATCH/runs", "'${SCRATCH}/runs'"):
        assert load_config(written(tmp_path, MINIMAL + f"out: {{root: {path}}}")).out.root == Path("/scratch/runs")
    with pytest.raises(ConfigError, match=r"'out.root': \$NO_SUCH/runs: the environment variable NO_SUCH is not set"):
        load_config(written(tmp_path, MINIMAL + "out: {root: $NO_SUCH/runs}"))
    # a $ in a name is no variable, written or in a variable's value
    monkeypatch.setenv("SCRATCH", "/pay$no_such")
    for path in ("/pay$no_such/runs", "$SCRATCH/runs"):
        config = load_config(written(tmp_path, MINIMAL + f"out: {{root: {path}}}"))
        assert with_overrides(config, {"run.max_cost": 1}).out.root == Path("/pay$no_such/runs")


def test_an_unknown_key_in_the_pool_names_the_entry(tmp_path: Path) -> None:
    text = MINIMAL + "  - {name: b, model: openai/b, api_key: oops}\n"
    with pytest.raises(
        ConfigError, match=r"line 5: .*pool\.1\.api_key.*did you mean api_key_env: the NAME of the variable"
    ) as error:
        load_config(written(tmp_path, text))
    assert "oops" not in str(error.value), "what may be a key is not printed"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("dataset: {name: sample}", "'pool' is missing"),
        (MINIMAL + "  - {name: a, model: openai/b, free: true}\n", "'a' is used twice"),
        (MINIMAL + "run: {mode: routed}", "needs router.checkpoint"),
        (MINIMAL + "agent: {reviewer: nobody}", "agent.reviewer 'nobody' is not in the pool"),
        (MINIMAL + "run: {agent_workers: 0}", "'run.agent_workers': must be greater than or equal to 1"),
        (
            "dataset: {name: sample, instances: []}\npool: [{name: a, model: openai/a, free: true}]",
            "a list of ids that is not empty; now select: [id=A|B]",
        ),
        (
            "dataset: {name: sample, limit: 0}\npool: [{name: a, model: openai/a, free: true}]",
            "now select: [slice=0:20]",
        ),
        (
            "dataset: {name: sample, limit: yes}\npool: [{name: a, model: openai/a, free: true}]",
            "limit: expected a whole number above 0",
        ),
        (MINIMAL + "run: {max_cost: yes}", "line 5: 'run.max_cost': expected a number, not true or false"),
        (MINIMAL.replace("free: true", "rpm: on"), "'pool.0.rpm': expected a number, not true or false"),
        (MINIMAL + "agent: {retry: {max_seconds: true}}", "'agent.retry.max_seconds': expected a number, not true"),
        (MINIMAL + "run: {grading_limits: {disk_gb: .nan}}", "'run.grading_limits.disk_gb': Input should be a finite"),
        (MINIMAL + "agent: {cost_limit: .inf}", "'agent.cost_limit': Input should be a finite number"),
        (MINIMAL + "out: {run_id: ../escape}", "'out.run_id'"),
        ("dataset: [", "line 1"),
        ("just text", "top level"),
    ],
)
def test_impossible_configurations_are_refused_with_the_fault(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, text))
    assert fault in str(error.value)


def test_an_unknown_configuration_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="sample, sample-select, verified"):
        find_config("verifed")


def test_a_folder_is_no_configuration_and_hides_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("sample", "my-run"):
        (tmp_path / folder).mkdir()
    assert find_config("sample") == CONFIGS / "sample.yaml"
    with pytest.raises(ConfigError, match="my-run: a folder; name a YAML file"):
        find_config("my-run")


def test_command_line_options_are_validated_like_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, MINIMAL))
    assert with_overrides(config, {"run.agent_workers": 7}).run.agent_workers == 7
    assert with_overrides(config, {"dataset.select": "slice=0:3"}).dataset.select == ["slice=0:3"]
    with pytest.raises(ConfigError, match=r"'dataset.select': 'slice=3': expected START:END"):
        with_overrides(config, {"dataset.select": ["slice=3"]})
    with pytest.raises(ConfigError, match="checkpoint"):
        with_overrides(config, {"run.mode": "routed"})


def test_a_file_of_an_earlier_version_selects_what_it_did(tmp_path: Path) -> None:
    text = MINIMAL.replace("name: sample", "name: sample, instances: [a-1, a-2], limit: 1")
    assert load_config(written(tmp_path, text)).dataset.select == ["id=a-1|a-2", "slice=0:1"]


def test_set_reaches_every_setting_and_names_what_does_not_exist(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, MINIMAL))
    texts = [
        "run.max_cost=50",
        "pool.a.model_kwargs.temperature=0.2",
        "pool.0.model=openai/b",
        "agent.retry.max_attempts=3",
    ]
    changed = with_overrides(config, parse_settings(texts))
    assert (changed.run.max_cost, changed.pool[0].model, changed.agent.retry.max_attempts) == (50, "openai/b", 3)
    assert changed.pool[0].model_kwargs == {"temperature": 0.2}
    for text, fault in {
        "run.max_costs=5": "'max_cost'",
        "pool.z.model=x": "no entry 'z'; there are: a",
        "pool.a=x": "name a setting of the entry",
        "run.max_cost.x=5": "holds a value",
        "run.max_cost": "expected KEY=VALUE",
        "run.max_cost=[": "--set",
    }.items():
        with pytest.raises(ConfigError, match=re.escape(fault)):
            with_overrides(with_overrides(config, {"run.max_cost": 5}), parse_settings([text]))
    with pytest.raises(ConfigError, match="given twice"):
        parse_settings(["run.max_cost=1", "run.max_cost=2"])


def test_a_limit_is_never_dropped_by_a_second_block_of_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'run' is given twice, lines 5 and 6"):
        load_config(written(tmp_path, MINIMAL + "run: {max_cost: 10}\nrun: {agent_workers: 2}\n"))


def test_paths_of_the_configuration_may_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = MINIMAL + "out: {root: ~/runs}\nrouter: {checkpoint: ~/r.safetensors, embedder: ~/model}\n"
    config = load_config(written(tmp_path, text))
    assert config.out.root == tmp_path / "runs"
    assert config.router.checkpoint == tmp_path / "r.safetensors"
    assert config.router.embedder == str(tmp_path / "model")


def test_every_fault_has_a_line_of_its_own_that_names_it(tmp_path: Path) -> None:
    text = """\
dataset: {name: sample}
run:
  workers: 8
  agent_workers: lots
  mode: both
pool:
  - name: a
    model: openai/a
    free: maybe
    temperature: 0.2
"""
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, text))
    first, *faults = str(error.value).split("\n")
    assert first.endswith("config.yaml:")
    assert [fault.split(":")[0].strip() for fault in faults] == ["line 3", "line 4", "line 5", "line 9", "line 10"]
    for fault, part in zip(
        faults,
        ["run.agent_workers", "a whole number", "'matrix' or 'routed'", "true or false", "model_kwargs"],
        strict=True,
    ):
        assert part in fault
    assert "maybe" not in str(error.value), "a value may be a key in the wrong place"


def test_the_starter_file_is_valid_names_prices_and_fits_the_disk(tmp_path: Path) -> None:
    models = ["anthropic/claude-sonnet-4-5-20250929", "openai/gpt-5"]
    config = load_config(written(tmp_path, text := starter(models, free_gb=80)))
    assert [entry.name for entry in config.pool] == ["claude-sonnet-4-5", "gpt-5"]
    assert config.run.images_gb == 60, "80 GB free, 20 to spare, 500 needed"
    assert config.run.max_cost == 50
    assert "$3.00 in, $15.00 out per million tokens" in text
    assert load_config(written(tmp_path, starter(models, "lite", free_gb=900))).run.images_gb is None
    with pytest.raises(ConfigError, match="at least one model"):
        starter([], free_gb=80)


def test_the_starter_says_what_it_does_not_know(tmp_path: Path) -> None:
    text = starter(["anthropic/claude-sonet-4-5", "bedrock/x", "azure/x"], free_gb=80)
    assert "does not know this id; the nearest: anthropic/claude-sonnet-4-5" in text
    names = [entry.name for entry in load_config(written(tmp_path, text)).pool]
    assert names == ["claude-sonet-4-5", "bedrock-x", "azure-x"]


def test_the_reference_in_the_docs_is_that_of_the_code() -> None:
    page = (CONFIGS.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    written_down = page.split("<!-- written by: polyswe config reference -->")[1].strip()
    assert written_down == markdown().strip(), "write it again: polyswe config reference"


def test_the_recipes_in_the_docs_are_valid(tmp_path: Path) -> None:
    page = (CONFIGS.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    recipes = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(recipes) >= 6
    for recipe in recipes:
        missing = "" if "dataset:" in recipe else "dataset: {name: sample}\n"
        missing += "" if "pool:" in recipe else "pool: [{name: a, model: openai/a, free: true}]\n"
        assert load_config(written(tmp_path, missing + recipe)).pool


def test_the_schema_knows_every_section_and_its_keys() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    assert "max_cost" in schema["$defs"]["RunConfig"]["properties"]


def test_one_policy_may_stand_alone_and_parameters_go_to_the_policies_that_have_them():
    from harness.evaluation.settings import EvaluationSettings, shared_params
    from harness.fitting import DEFAULT_POLICY

    assert RouterConfig().policy == list(EvaluationSettings().policies) == ["auto", "cluster"]
    assert RouterConfig().policy[0] == DEFAULT_POLICY
    assert RouterConfig.model_validate({"policy": "knn"}).policy == ["knn"]
    assert shared_params(["auto", "cluster"], {"n_clusters": 5, "seed": 7}) == {
        "auto": {"seed": 7},
        "cluster": {"n_clusters": 5, "seed": 7},
    }
