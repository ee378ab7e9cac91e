import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone

from router.checkpoint import read_checkpoint
from router.lab.crossfit import crossfit, folds
from router.outcomes import OutcomeError, OutcomeMatrix
from router.policies import PolicyNotFittedError, make_policy
from router.ridge import TextRidge
from router.router import Router


def readable_world(n: int = 400, seed: int = 0, gap: float = 1.5) -> tuple[np.ndarray, OutcomeMatrix, OutcomeMatrix]:
    """Difficulty and size can be read off the text; a dear able model, a cheap weak one, 20 auxiliary runs."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 16))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    difficulty = 8 * X[:, 0] + rng.normal(0, 0.5, n)
    size = 2 * X[:, 1]
    ability = np.concatenate([[gap, 0.0], rng.normal(0.5, 1, 20)])
    resolved = (rng.random((n, 22)) < expit(ability - difficulty[:, None])).astype(float)
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


def test_reads_off_the_text_where_ability_matters() -> None:
    rng = np.random.default_rng(2)
    n, X = 600, np.eye(2)[np.arange(600) % 2] + rng.normal(0, 0.05, (600, 2))
    ability = np.concatenate([[1.5, -1.5], rng.normal(0, 1.5, 30)])
    steep = np.where(np.arange(n) % 2 == 0, 1.8, 0.2)
    resolved = (rng.random((n, 32)) < expit(np.outer(steep, ability))).astype(float)
    ids = [f"i{k}" for k in range(n)]
    pool = OutcomeMatrix.build(ids, ["able", "cheap"], resolved[:, :2], np.tile([1.0, 0.1], (n, 1)))
    auxiliary = OutcomeMatrix.build(ids, [f"aux{k}" for k in range(30)], resolved[:, 2:])
    policy = make_policy("shared-difficulty", heads=False).fit(X, pool, auxiliary=auxiliary)
    slopes = policy.slopes(X)
    assert slopes[::2].min() > 2 * slopes[1::2].max()
    # for 0.45 instances per dollar more it pays to go to the able model, but only where ability matters
    assert policy.predict(X, 0.45).tolist() == [0, 1] * (n // 2)
    assert (policy.predict(X, np.inf) == 1).all()


def test_the_cheapest_is_the_one_that_is_cheap_on_average() -> None:
    X, outcomes, _ = readable_world(n=80)
    close = OutcomeMatrix.build(
        outcomes.instances, outcomes.models, outcomes.resolved, outcomes.cost * np.array([0.1, 1.02])
    )
    cheapest = int(np.argmin(close.mean_cost()))
    assert (make_policy("shared-difficulty").fit(X, close).predict(X, np.inf) == cheapest).all()


def test_a_refit_to_other_outcomes_forgets_the_first() -> None:
    X, outcomes, auxiliary = readable_world(n=100)
    other = outcomes.with_resolved(1.0 - outcomes.resolved)
    used = make_policy("shared-difficulty").fit(X, other, auxiliary=auxiliary)
    used.fit_outcomes(outcomes, auxiliary)
    fresh = make_policy("shared-difficulty").fit(X, outcomes, auxiliary=auxiliary)
    assert np.array_equal(used.scores(X), fresh.scores(X))
    used.fit_outcomes(outcomes)
    assert np.array_equal(used.scores(X), make_policy("shared-difficulty").fit(X, outcomes).scores(X))


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


def test_one_penalty_for_many_targets() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4))
    targets = np.column_stack([X[:, 0] + rng.normal(0, 0.3, 80), 3.0 + X[:, 1], np.full(80, np.nan)])
    targets[::3, 1] = np.nan
    ridge = TextRidge(X)
    weights, bias, held_out = ridge.fit_together(targets)
    assert (weights.shape, bias.shape, held_out.shape) == ((4, 3), (3,), (80, 3))
    assert np.corrcoef(held_out[:, 1], X[:, 1])[0, 1] > 0.95
    assert bias[1] == pytest.approx(3, abs=0.2)
    assert not weights[:, 2].any()
    assert not ridge.fit_together(np.zeros((80, 2)))[0].any()
    alone = ridge.fit(targets[:, 0])
    assert ridge.fit_together(targets[:, :1])[0][:, 0] == pytest.approx(alone.weights)
