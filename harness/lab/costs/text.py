"""results/costs/README.md, from the JSON beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

HEAD = """# What predicting costs is worth

Written by `polyswe lab costs --data DIR --out results/costs` from {runs} recorded runs on the {instances} instances of
SWE-bench Verified. No model was run; verdicts and costs are the recorded ones. Gains are in resolved instances of
{instances}, intervals 95 % by bootstrap over instances.

## Two models: the dear one where it is predicted to be cheap

**Pairs** are all two runs of different models that each resolve at least {least_rate:.0%}, where the dear one resolves
more and costs at least {least_cost_ratio:g} times as much. A share of the instances goes to the dear model, those first
on which it is predicted to be cheapest, by ridge regression on the logarithm of its recorded costs. The gain is what
this resolves beyond a random mixture of the two models **at the same cost**, as the mean over shares of 10 … 90 %.
Predictions are held out: by instance ({folds} folds, {repeats} times), or all instances of a repository together. They
are brought to one mean over the folds, because a fold of dear instances leaves cheap ones to learn from; a row shows
the order without that. Two choices were made after looking at gains: this levelling, and the least cost ratio, without
which the interval is about ±12.

"""


def render(study: dict[str, Any]) -> str:
    """Markdown of a study's JSON."""
    settings = study["settings"]
    head = HEAD.format(instances=study["instances"], runs=study["runs"], **settings)
    parts = [
        *_orders(study["orders"], settings),
        *_published(study),
        *_pools(study),
        *_forecasts(study["forecasts"]),
        *_difficulty(study["difficulty"]),
    ]
    return head + "\n".join(parts).rstrip() + "\n"


def _orders(rows: Sequence[dict[str, Any]], settings: dict[str, Any]) -> Iterator[str]:
    for group in dict.fromkeys(row["group"] for row in rows):
        some = [row for row in rows if row["group"] == group]
        leader = f" ({settings['leader']})" if "leader" in group else ""
        yield f"**{group[0].upper()}{group[1:]}**{leader}, {some[0]['pairs']} pairs:\n"
        yield "| costs predicted from | held out | gain | pairs with a gain | at 20 / 50 / 80 % | r (log cost) |"
        yield "|---|---|---:|---:|---:|---:|"
        for row in some:
            at = " / ".join(f"{row['at'][share]:+.1f}" for share in ("20%", "50%", "80%"))
            correlation = "" if row["correlation"] is None else f"{row['correlation']:.2f}"
            yield (
                f"| {row['order']} | {row['split']} | {_gain(row['gain'], row['gain_ci95'])} | "
                f"{row['pairs_positive']} | {at} | {correlation} |"
            )
        yield ""


def _published(study: dict[str, Any]) -> Iterator[str]:
    if not study["reproduced"]:
        return
    published, again = study["published"], study["reproduced"]
    yield "## Beside the published figures\n"
    yield (
        "The study that found this order reports +5.3 [+2.2, +8.5] over 27 pairs, all positive (unseen repositories "
        "+1.6 [−1.7, +4.8], true cost +7.5, shuffled +0.8). Its 27 pairs are 9 cheap models with the three strongest "
        "of 66 runs. The costs of two of these three, and of three cheap models, are not in the records here. Its "
        f"other {len(again)} pairs:\n"
    )
    yield "| pair | published | here |\n|---|---:|---:|"
    for pair, gain in again.items():
        yield f"| {pair} | {published[pair]:+.1f} | {gain:+.1f} |"
    mean = sum(again.values()) / len(again)
    yield f"| mean | {sum(published[pair] for pair in again) / len(again):+.1f} | {mean:+.1f} |\n"
    yield (
        f"Over all {study['pairs']} pairs the gain is smaller: most of them have a weaker dear model, and the less it "
        f"adds, the less there is to gain (correlation over pairs {study['gain_by_advantage']:.2f}).\n"
    )


def _pools(study: dict[str, Any]) -> Iterator[str]:
    if not study["pools"]:
        return
    yield "## Pools of three and more models\n"
    yield (
        "The policy `cost-first`, its λ swept, beside the convex hull of the single models: mean over costs from the "
        "cheapest model's to the best one's. `best-fixed` predicts nothing; what it loses is the price of choosing "
        "models by their training rates.\n"
    )
    yield "| pool | models | held out | policy | gain over the hull |\n|---|---:|---|---|---:|"
    for row in study["pools"]:
        gain = _gain(row["hull_gain"], row["hull_gain_ci95"])
        yield f"| {row['pool']} | {row['models']} | {row['split']} | {row['policy']} | {gain} |"
    for row in study["random_pools"]:
        gain = f"{_gain(row['hull_gain'], row['hull_gain_ci95'])}; positive in {row['positive']}"
        yield f"| {row['pools']} random pools (interval over pools) | 3 to 6 | by instance | {row['policy']} | {gain} |"
    yield ""


def _forecasts(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "## The forecast of a run's cost\n"
    yield (
        "Some cells of a run are on record, 20 to 100 further ones are forecast. They are drawn at random, or are "
        "instances of a repository that is not among the recorded cells. *Other models' costs* are those of three "
        "random runs of other models on the same instances, *ratings* the five below. The range is the 95 % range that "
        "`--dry-run` states.\n"
    )
    yield (
        "| further cells | recorded | forecast from | error of the total | in the range | width of the range "
        "| r of single cells (log) | error of single cells |\n|---|---:|---|---:|---:|---:|---:|---:|"
    )
    for row in rows:
        yield (
            f"| {row['targets']} | {row['known']} | {row['basis']} | {row['error']:.1%} | {row['covered']:.0%} | "
            f"{row['width']:.0%} | {row['correlation']:.2f} | {row['relative_error']:.2f} × |"
        )
    yield (
        "\nThe issue's text is no better than the mean, and worse for an unseen repository: the forecast does not use "
        "it. Other models' costs and ratings are used where they are there.\n"
    )


def _difficulty(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "## Ratings of the issue by a language model\n"
    yield (
        "How well recorded ratings (by a strong model, from the issue's text alone) predict that a run fails, mean "
        "over the runs of the pairs above. *The five* are those that `polyswe dataset rate` asks for, too; an earlier "
        "study of the same issues found them to say most, so their figure flatters. No cheap rater is on record.\n"
    )
    yield "| predictor | held out | AUC | resolved of the tenth ranked hardest | of all |\n|---|---|---:|---:|---:|"
    for row in rows:
        yield (
            f"| {row['predictor']} | {row['split']} | {row['auc']:.3f} [{row['auc_ci95'][0]:.3f}, "
            f"{row['auc_ci95'][1]:.3f}] | {row['resolved_hardest']:.0%} | {row['resolved']:.0%} |"
        )
    yield (
        "\nThis is no saving: in the first tables, spending by ratings gains nothing certain over a mixture, though "
        "they predict costs better than the text does. Harder issues gain more from a dear model, and cost it as much "
        "more.\n"
    )


def _gain(value: float, bounds: Sequence[float]) -> str:
    return f"{value:+.1f} [{bounds[0]:+.1f}, {bounds[1]:+.1f}]"
