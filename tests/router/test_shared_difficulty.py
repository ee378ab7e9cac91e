import numpy as np
import pytest
from sklearn.base import clone

from router.checkpoint import read_checkpoint
from router.crossfit import crossfit, folds
from router.irt import sigmoid
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies import PolicyNotFittedError, make_policy
from router.policies.shared_difficulty import level_near_ties
from router.ridge import TextRidge, stack
from router.router import Router


def readable_world(n: int = 400, seed: int = 0, gap: float = 1.5) -> tuple[np.ndarray, OutcomeMatrix, OutcomeMatrix]:
    """Difficulty and size can be read off the text; a dear able model, a cheap weak one, 20 auxiliary runs."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 16))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    difficulty = 8 * X[:, 0] + rng.normal(0, 0.5, n)
    size = 2 * X[:, 1]
    ability = np.concatenate([[gap, 0.0], rng.normal(0.5, 1, 20)])
    resolved = (rng.random((n, 22)) < sigmoid(ability - difficulty[:, None])).astype(float)
    cost = np.exp(size[:, None] + rng.normal(0, 0.3, (n, 2))) * [1.0, 0.1]
    ids = [f"i{k}" for k in range(n)]
    pool = OutcomeMatrix.build(ids, ["dear", "cheap"], resolved[:, :2], cost)
    return X, pool, OutcomeMatrix.build(ids, [f"aux{k}" for k in range(20)], resolved[:, 2:])


def test_reads_difficulty_and_price_off_new_texts() -> None:
    X, outcomes, auxiliary = readable_world()
    train, test = np.arange(300), np.arange(300, 400)
    policy = make_policy("shared-difficulty").fit(X[train], outcomes.take(train), auxiliary=auxiliary.take(train))
    assert np.corrcoef(policy.difficulties(X[test]), X[test, 0])[0, 1] > 0.95
    logs = np.log(outcomes.cost[test])
    assert all(np.corrcoef(np.log(policy.costs(X[test]))[:, h], logs[:, h])[0, 1] > 0.7 for h in (0, 1))
    assert policy.costs(X[test]).mean(axis=0) == pytest.approx(outcomes.cost[test].mean(axis=0), rel=0.2)
    assert policy.scores(X[test]).mean(axis=0) == pytest.approx(outcomes.resolved[test].mean(axis=0), abs=0.1)


def test_auxiliary_runs_sharpen_difficulty() -> None:
    X, outcomes, auxiliary = readable_world(n=150)
    alone = make_policy("shared-difficulty").fit(X[:100], outcomes.take(np.arange(100)))
    helped = make_policy("shared-difficulty").fit(
        X[:100], outcomes.take(np.arange(100)), auxiliary=auxiliary.take(np.arange(100))
    )
    told = [np.corrcoef(policy.difficulties(X[100:]), X[100:, 0])[0, 1] for policy in (alone, helped)]
    assert told[1] > told[0]


def test_predictions_of_the_training_rates_are_calibrated() -> None:
    X, outcomes, _ = readable_world()
    policy = make_policy("shared-difficulty", heads=False).fit(X, outcomes)
    assert policy.scores(X).mean(axis=0) == pytest.approx(outcomes.rates(), abs=0.02)


def test_heads_find_a_planted_interaction_and_stay_away_without_one() -> None:
    rng = np.random.default_rng(1)
    X = np.eye(2)[np.arange(400) % 2] + rng.normal(0, 0.1, (400, 2))
    chance = np.where((np.arange(400) % 2 == 0)[:, None], [0.9, 0.4], [0.4, 0.9])
    ids = [f"i{k}" for k in range(400)]
    planted = OutcomeMatrix.build(ids, ["a", "b"], (rng.random((400, 2)) < chance).astype(float))
    found = crossfit(make_policy("shared-difficulty"), X, planted, folds(400, 5, 1))
    assert found.rate > 0.85
    assert crossfit(make_policy("shared-difficulty", heads=False), X, planted, folds(400, 5, 1)).rate < 0.75


def test_identical_models_go_to_the_cheaper() -> None:
    X, outcomes, _ = readable_world()
    twins = OutcomeMatrix.build(outcomes.instances, ["dear", "cheap"], outcomes.resolved[:, [0, 0]], outcomes.cost)
    assert (make_policy("shared-difficulty").fit(X, twins).predict(X) == 1).mean() > 0.99


def test_near_ties_are_levelled_towards_the_cheaper_only() -> None:
    rng = np.random.default_rng(0)
    base = (rng.random(200) < 0.6).astype(float)
    luckier, better = base.copy(), base.copy()
    luckier[np.flatnonzero(base == 0)[:2]] = 1
    luckier[np.flatnonzero(base == 1)[:1]] = 0
    better[np.flatnonzero(base == 0)[:40]] = 1
    outcomes = OutcomeMatrix.build(
        [f"i{k}" for k in range(200)],
        ["cheap", "luckier", "better"],
        np.column_stack([base, luckier, better]),
        np.tile([0.1, 0.5, 1.0], (200, 1)),
    )
    rates = outcomes.rates()
    assert level_near_ties(outcomes, rates, 1.0).tolist() == [rates[0], rates[0], rates[2]]
    assert level_near_ties(outcomes, rates, 0.0).tolist() == rates.tolist()


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_outcomes_of_one_kind_and_unknown_costs_are_survived(constant: float) -> None:
    X, outcomes, _ = readable_world(n=40)
    resolved = np.column_stack([np.full(40, constant), outcomes.resolved[:, 1]])
    policy = make_policy("shared-difficulty").fit(X, OutcomeMatrix.build(outcomes.instances, ["a", "b"], resolved))
    assert np.isfinite(policy.scores(X)).all()
    assert policy.costs(X) == pytest.approx(0)
    half = OutcomeMatrix.build(
        outcomes.instances, ["a", "b"], resolved, np.column_stack([np.full(40, np.nan), np.ones(40)])
    )
    assert policy.fit(X, half).costs(X) == pytest.approx(1)


def test_missing_cells_few_labels_and_a_model_nobody_ran() -> None:
    X, outcomes, auxiliary = readable_world()
    resolved = np.column_stack([outcomes.resolved, np.full(400, np.nan)])
    resolved[20:, 0] = np.nan
    pool = OutcomeMatrix.build(outcomes.instances, ["few", "cheap", "unseen"], resolved)
    policy = make_policy("shared-difficulty").fit(X, pool, auxiliary=auxiliary)
    scores = policy.scores(X).mean(axis=0)
    assert scores[0] == pytest.approx(outcomes.rates()[0], abs=0.12)
    assert scores[2] == pytest.approx(0, abs=1e-6)
    assert (policy.predict(X) != 2).all()


def test_one_model_one_instance_and_wrong_rows() -> None:
    X, outcomes, _ = readable_world(n=30)
    assert (make_policy("shared-difficulty").fit(X, outcomes.pool(["cheap"])).predict(X) == 0).all()
    assert np.isfinite(make_policy("shared-difficulty").fit(X[:1], outcomes.take(np.array([0]))).scores(X)).all()
    with pytest.raises(OutcomeError, match="30 instances for 4 rows"):
        make_policy("shared-difficulty").fit(X[:4], outcomes)
    with pytest.raises(PolicyNotFittedError, match="fit_features"):
        make_policy("shared-difficulty").fit_outcomes(outcomes)
    unseen = OutcomeMatrix.build(outcomes.instances, ["a"], np.full((30, 1), np.nan))
    with pytest.raises(OutcomeError, match="no verdict"):
        make_policy("shared-difficulty").fit(X, unseen)


def test_clones_and_checkpoints(tmp_path, world, word_embedder) -> None:
    policy = make_policy("shared-difficulty", heads=False)
    assert clone(policy).get_params() == policy.get_params()
    policy.fit(world.X, world.outcomes)
    Router(policy, policy.models_, word_embedder).save(tmp_path / "router.safetensors")
    assert read_checkpoint(tmp_path / "router.safetensors")[0].policy == "shared-difficulty"
    loaded = Router.load(tmp_path / "router.safetensors", word_embedder)
    assert np.array_equal(loaded.policy.scores(world.X), policy.scores(world.X))
    assert loaded.route_embeddings(world.X[:1])[0].reason.count("logits") == 1


def test_held_out_ridge_predictions_are_those_of_refits() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    y = X[:, 0] + rng.normal(0, 0.5, 60)
    fit = TextRidge(X).fit(y)
    assert fit.predict(X) == pytest.approx(X @ fit.weights + fit.bias)
    rest = np.arange(1, 60)
    assert fit.held_out[0] == pytest.approx(TextRidge(X[rest]).fit(y[rest]).predict(X[:1])[0], abs=0.05)
    assert fit.error > ((y - fit.predict(X)) ** 2).mean()
    assert TextRidge(X).fit(np.full(60, 3.0)).predict(X) == pytest.approx(3)
    holes = np.where(np.arange(60) % 4 == 0, np.nan, y)
    assert np.corrcoef(TextRidge(X).fit(holes).predict(X), X[:, 0])[0, 1] > 0.95


def test_a_stack_is_no_worse_than_its_parts_held_out() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4))
    y = X[:, 0] + X[:, 1] + rng.normal(0, 0.5, 80)
    parts = [TextRidge(X).fit(y), TextRidge(X).fit(X[:, 1])]
    mixed = stack(y, parts)
    assert mixed.error <= min(((y - part.held_out) ** 2).mean() for part in parts) + 1e-12
    assert mixed.predict(X) == pytest.approx(X @ mixed.weights + mixed.bias)
