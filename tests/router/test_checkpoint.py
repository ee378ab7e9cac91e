import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from router.checkpoint import CheckpointError, RoutedModel, read_checkpoint
from router.memory import remember
from router.outcomes import OutcomeMatrix
from router.policies import live_policies, make_policy
from router.router import Router
from tests.router.conftest import policy_for


@pytest.fixture
def saved(tmp_path: Path, world, word_embedder) -> Path:
    policy = make_policy("cluster", n_clusters=2).fit(world.X, world.outcomes)
    path = tmp_path / "deep" / "router.safetensors"
    Router(policy, world.outcomes.models, word_embedder, {"data": "sample"}, {"resolved": 99.5}).save(path)
    return path


def rewrite(path: Path, **changes: object) -> None:
    """The same file with other header fields."""
    header, arrays = read_checkpoint(path)
    fields = header.model_dump(mode="json") | changes
    save_file(arrays, path, metadata={"polyswe.router": json.dumps(fields), "schema": str(fields["schema_"])})


@pytest.mark.parametrize("name", sorted(live_policies()))
def test_a_loaded_router_decides_as_the_saved_one(name: str, tmp_path: Path, world, word_embedder) -> None:
    policy = policy_for(world.X, name, cost_weight=0.2).fit(world.X, world.outcomes)
    models = [RoutedModel(name=m, mean_cost_usd=0.5, input_cost_per_token=1e-6) for m in world.outcomes.models]
    router = Router(policy, models, word_embedder, {"seed": 3}, {"rate": 0.75, "p": None})
    router.save(tmp_path / "r.safetensors")
    loaded = Router.load(tmp_path / "r.safetensors", word_embedder)
    assert loaded.route_embeddings(world.X) == router.route_embeddings(world.X)
    assert loaded.route_embeddings(world.X, float("inf")) == router.route_embeddings(world.X, float("inf"))
    assert loaded.models == tuple(models)
    assert (loaded.provenance, loaded.figures) == ({"seed": 3}, {"rate": 0.75, "p": None})
    assert loaded.policy.get_params() == policy.get_params()


def test_an_infinite_weight_survives(tmp_path: Path, world, word_embedder) -> None:
    policy = make_policy("best-fixed", cost_weight=float("inf")).fit(world.X, world.outcomes)
    Router(policy, world.outcomes.models, word_embedder).save(tmp_path / "r")
    assert Router.load(tmp_path / "r", word_embedder).route("html").model == "cheap"


def test_saving_replaces_the_file_whole_and_leaves_nothing_behind(saved: Path, world, word_embedder) -> None:
    policy = make_policy("best-fixed").fit(world.X, world.outcomes)
    router = Router(policy, world.outcomes.models, word_embedder)
    router.save(saved)
    assert read_checkpoint(saved)[0].policy == "best-fixed"
    router.provenance = {"unserialisable": object()}
    with pytest.raises(ValueError, match="serialize"):
        router.save(saved)
    assert read_checkpoint(saved)[0].provenance == {}
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_another_embedder_is_refused(saved: Path, other_embedder) -> None:
    with pytest.raises(CheckpointError, match=r"router\.safetensors: fitted on embeddings of 'words'.*'other-words'"):
        Router.load(saved, other_embedder)


def test_a_newer_schema_asks_for_an_upgrade_even_if_its_header_is_foreign(saved: Path, word_embedder) -> None:
    rewrite(saved, schema_=2, something_new=True)
    with pytest.raises(CheckpointError, match=r"newer polyswe \(schema 2.*upgrade"):
        Router.load(saved, word_embedder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "quantum"}, "unknown policy 'quantum'.*upgrade polyswe"),
        ({"params": {"n_cluster": 2}}, "no parameter 'n_cluster'"),
        ({"models": [{"name": "parser"}]}, "has 3 where others have m=1"),
        ({"models": "parser"}, "damaged header .models"),
        ({"models": [{"name": "parser"}] * 3}, "two models have one name"),
        ({"params": {"n_clusters": "many"}}, "parameter 'n_clusters'"),
        ({"params": {"cost_weight": "much"}}, "cost_weight must be a number, got 'much'"),
        ({"params": {"cost_weight": -1.0}}, "parameter 'cost_weight' must be a number >= 0"),
        ({"params": {"clustering": ["kmeans"]}}, "parameter 'clustering'"),
        (
            {
                "clusters": [
                    {
                        "cluster": 0,
                        "size": 1,
                        "words": [],
                        "instances": [],
                        "rates": {"other": 1.0},
                        "counts": {"other": 1},
                    }
                ]
            },
            "rates and counts are not those of the models",
        ),
    ],
)
def test_a_header_that_does_not_fit_is_refused(saved: Path, word_embedder, changes: dict, message: str) -> None:
    rewrite(saved, **changes)
    with pytest.raises(CheckpointError, match=message):
        Router.load(saved, word_embedder)


def test_missing_arrays_are_refused(saved: Path, word_embedder) -> None:
    header, arrays = read_checkpoint(saved)
    del arrays["profile_"]
    save_file(arrays, saved, metadata={"polyswe.router": header.model_dump_json(), "schema": "1"})
    with pytest.raises(CheckpointError, match="needs array 'profile_'"):
        Router.load(saved, word_embedder)


@pytest.mark.parametrize(
    ("name", "array", "value"),
    [
        ("auto", "taken_", 7),
        ("auto", "taken_", -1),
        ("auto", "extra_", np.nan),
        ("knn", "chosen_", 0),
        ("knn", "chosen_", 10_000),
        ("cascade", "chains_", 3),
        ("cascade", "chains_", -2),
        ("cascade", "chains_", -1),
        ("cascade", "so_far_", np.nan),
        ("cluster", "profile_", np.nan),
    ],
)
def test_arrays_that_no_fit_makes_are_refused_at_loading(
    name: str, array: str, value: float, tmp_path: Path, world, word_embedder
) -> None:
    policy = make_policy(name, **({"n_clusters": 2} if name == "cluster" else {})).fit(world.X, world.outcomes)
    path = tmp_path / "r"
    Router(policy, world.outcomes.models, word_embedder).save(path)
    header, arrays = read_checkpoint(path)
    arrays[array].flat[0] = value
    save_file(arrays, path, metadata={"polyswe.router": header.model_dump_json(), "schema": "1"})
    with pytest.raises(CheckpointError, match=f"array '{array}'"):
        Router.load(path, word_embedder)
    arrays[array] = arrays[array][:0]
    save_file(arrays, path, metadata={"polyswe.router": header.model_dump_json(), "schema": "1"})
    with pytest.raises(CheckpointError, match="array '"):
        Router.load(path, word_embedder)


@pytest.mark.parametrize("name", sorted(live_policies()))
def test_what_was_fitted_on_little_can_be_loaded(name: str, tmp_path: Path, world, word_embedder) -> None:
    """Unknown costs, unknown verdicts and a model that nobody has seen leave no array that loading would refuse."""
    resolved = np.array(world.outcomes.resolved)
    resolved[::3, 1] = np.nan
    resolved[:, 2] = np.nan
    bare = OutcomeMatrix.build(world.outcomes.instances, world.outcomes.models, resolved)
    router = Router(policy_for(world.X, name).fit(world.X, bare), bare.models, word_embedder)
    router.save(tmp_path / "r")
    assert Router.load(tmp_path / "r", word_embedder).choose(world.X) == router.choose(world.X)


def test_a_hostile_file_is_refused_before_it_takes_time_or_memory(
    saved: Path, tmp_path: Path, word_embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, arrays = read_checkpoint(saved)
    huge = tmp_path / "sparse"
    with huge.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(CheckpointError, match="larger than"):
        read_checkpoint(huge)
    for schema in ("9" * 5000, "٣", "-1"):
        save_file(arrays, saved, metadata={"polyswe.router": header.model_dump_json(), "schema": schema})
        with pytest.raises(CheckpointError, match="not a router checkpoint"):
            read_checkpoint(saved)
    deep = '{"provenance":' + '{"a":' * 100_000 + "1" + "}" * 100_001
    save_file(arrays, saved, metadata={"polyswe.router": deep, "schema": "1"})
    with pytest.raises(CheckpointError, match="damaged header"):
        read_checkpoint(saved)
    monkeypatch.setattr("router.checkpoint.MAX_HEADER", 100)
    with pytest.raises(CheckpointError, match="more than 100 characters"):
        read_checkpoint(saved)
    monkeypatch.undo()
    # bfloat16 is no type of numpy's: written by hand
    fields = {"__metadata__": {}, "w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    document = json.dumps(fields).encode()
    saved.write_bytes(len(document).to_bytes(8, "little") + document + b"\0\0")
    with pytest.raises(CheckpointError, match="not a router checkpoint"):
        read_checkpoint(saved)


def test_arrays_of_another_width_are_refused_at_loading(tmp_path: Path, world, word_embedder) -> None:
    policy = make_policy("cluster", n_clusters=2).fit(world.X, world.outcomes)
    texts = [f"issue {k}" for k in range(len(world.X))]
    memory = remember(policy, world.X, texts, world.outcomes)
    Router(policy, world.outcomes.models, word_embedder, memory=memory).save(tmp_path / "r")
    header, arrays = read_checkpoint(tmp_path / "r")
    arrays["centroids_"] = np.ascontiguousarray(arrays["centroids_"][:, :3])
    save_file(arrays, tmp_path / "r", metadata={"polyswe.router": header.model_dump_json(), "schema": "1"})
    with pytest.raises(CheckpointError, match="embeddings of 4 dimensions, fitted on embeddings of 3; fit it again"):
        Router.load(tmp_path / "r", word_embedder)


def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint; write one with `polyswe fit`"):
        read_checkpoint(tmp_path / "absent")
    (tmp_path / "text").write_text("not a checkpoint, but long enough for a header")
    with pytest.raises(CheckpointError, match="text: not a router checkpoint"):
        read_checkpoint(tmp_path / "text")
    save_file({"w": np.zeros(2)}, tmp_path / "weights")
    with pytest.raises(CheckpointError, match="weights: a safetensors file, but not a router checkpoint"):
        read_checkpoint(tmp_path / "weights")


def test_the_file_is_plain_safetensors(saved: Path) -> None:
    assert set(load_file(saved)) == {"centroids_", "profile_", "counts_", "overall_", "cost_", "seconds_"}
