"""results/selection/README.md, from the JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.text import markdown

HEAD = """# What choosing among finished attempts is worth

Written by `polyswe lab selection --data DIR --out results/selection` from other people's patches of {instances}
instances of SWE-bench Verified: {models} agents, {tests:,} tests written blind by {writers} language models and run
on {tested} of the agents' patches. Numbers only. Every rule but the learned ones is played by the code of policy
`select` (`router/policies/select.py`).

- Differences are in instances of {instances}, means over all pools of k agents, against the pool's best member **in
  hindsight** unless a column says otherwise. Intervals are 95 %, from resampling the instances, the same resample in
  every pool. They do not cover the choice of agents: pools share members, so shares of pools are descriptive.
- *Held out*: the default (which wins ties) is the best member of the training folds, {repeats} × {parts} folds
  ({side_repeats} × for agreement, learned rules, writers and sequences, {null_repeats} × in the permutation test).
  *Known default*: the best member in hindsight is both the default and the yardstick, which is **optimistic**.
- The rule has no fitted parameter, but it was found on these data: about {variants} rules were looked at in all. Its
  authors say that they fixed it after the AUC of single signals and before any pool, and that some ten variants tried
  afterwards were worse. What is held out is the default, not the idea.
- Costs of the attempts are unknown, not zero: attempts are counted. Test writing is not counted.
"""
PUBLISHED = """## Beside what was published

The study that collected these attempts reports, with folds of its own: held out +1.5 [−1.5, +4.5], above 0 in 70 % of
pools, +3.8 against the best in training, p 0.03; known default +3.4 [+0.7, +6.2] in 93 %, p 0.016; medoid −5.4 and
plurality −2.4 (k = 3); the bound of voting −6.1, −9.7 and −13.0 (k = 3, 5, 7); a simulated AUC of 0.60 +0.2, of 0.70
+10.5, of 0.80 +19.6; existing tests −0.3, with the oracle +1.3, from 3 broken on +0.4. What does not depend on folds
or draws is the same here to the last digit. Held-out figures differ by the folds: the mean over pools by 0.1, the share
of pools above 0 by more, because many pools lie near 0. p is smaller here, with 200 permutations instead of some 60.
"""
LIMITS = """## Limits

SWE-bench Verified only (Python, 12 repositories), systems of 2025 that resolve 71–77 %: stronger models leave fewer
instances on which members differ. One recorded attempt per agent. Some agents retry or use several models inside;
ensembles with a selector are left out ({left_out}). Prompts of the test writers are not published; about half of
their tests fail on the reference patch as well. Hidden tests are specific: a patch counted as wrong may be acceptable.
The published conditional logits also read patch sizes and token pairs: −1.3 [−3.7, +1.1] in pools of 3 of 10 agents,
and −0.5 [−3.3, +2.3] with tests as further features. They too are below the plain rule.
"""


def render(study: dict[str, Any]) -> str:
    """Markdown of a study's JSON."""
    data, settings = study["data"], study["settings"]
    head = HEAD.format(
        instances=data["instances"],
        models=len(data["resolved"]),
        tests=data["tests"],
        writers=len(data["writers"]),
        tested=len(data["with_generated_tests"]),
        repeats=settings["repeats"],
        side_repeats=settings["side_repeats"],
        null_repeats=settings["null_repeats"],
        parts=settings["parts"],
        variants=study["variants_looked_at"],
    )
    sections = [
        head,
        _headline(study),
        _rules(study),
        _learned(study),
        _doses(study),
        _verifier(study),
        _sequential(study),
        _existing(study["existing_tests"]),
        _confidence(study),
        PUBLISHED,
        LIMITS.format(left_out=", ".join(markdown(name) for name in data["left_out"]) or "none"),
    ]
    return "\n".join(section for section in sections if section).rstrip() + "\n"


def _headline(study: dict[str, Any]) -> str:
    held_out, known = study["held_out"], study["known_default"]
    null = study["permutation_null"]
    rows = [
        ("held out, against the best in hindsight", _delta(held_out), _above(held_out), f"{null['held_out']['p']:.3f}"),
        (
            "held out, against the best in training",
            _delta(held_out["vs_best_in_training"]),
            _above(held_out["vs_best_in_training"]),
            "",
        ),
        ("known default (optimistic)", _delta(known), _above(known), f"{null['known_default']['p']:.3f}"),
    ]
    unseen = study["repositories_unseen"]["held_out"]
    rows.append(("held out, repositories unseen", _delta(unseen), _above(unseen), ""))
    if study["strict_single_attempts"]:
        strict = study["strict_single_attempts"]
        name = f"held out, {strict['pools']} pools of agents with a single attempt and model"
        rows.append((name, _delta(strict["held_out"]), _above(strict["held_out"]), ""))
    table = _table(("the rule, k = 3", "Δ [95 %]", "pools above 0", "p"), rows)
    return (
        f"## The rule\n\nMost tests fixed, ties to the default, {held_out['pools']} pools of {held_out['members']}:\n\n"
        f"{table}\n"
        f"p: {null['permutations']} permutations, numbers of fixed tests shuffled among the attempts of an instance; "
        f"with shuffled numbers the rule brings {_signed(null['held_out']['mean'])} held out.\n"
    )


def _rules(study: dict[str, Any]) -> str:
    """Agreement beside its bound."""
    rows = []
    for k, rules in study["agreement"].items():
        rows += [(f"{name}, k = {k}", *_line(record)) for name, record in rules.items()]
    rows += [
        (f"majority of true verdicts, k = {k} (bound)", _delta(record), _above(record), "", _delta(record))
        for k, record in study["perfect_majority"].items()
    ]
    if not rows:
        return ""
    return (
        "## Agreement between patches\n\n*medoid*: the patch most like the others; *plurality*: the patch equal to "
        "most others. The bound votes with perfect knowledge of which patches are equivalent: in the instances that "
        "matter, the majority is often wrong.\n\n"
        + _table(
            ("rule, all pools", "held out Δ [95 %]", "pools above 0", "against the best in training", "known default"),
            rows,
        )
    )


def _learned(study: dict[str, Any]) -> str:
    """Fitted rules, above the plain one."""
    if not study["learned"]:
        return ""
    rules = [(f"conditional logit on {name}", record) for name, record in study["learned"].items()]
    rows = []
    for name, record in (*rules, ("most tests fixed, ties to the default", study["by_members"]["3"])):
        held_out = record["held_out"]
        against = _delta(held_out["vs_best_in_training"])
        rows.append((name, str(record["pools"]), _delta(held_out), _above(held_out), against))
    return (
        "## Learned rules\n\nOf three attempts the likeliest to be right, by mean and greatest similarity, share of "
        "equal patches, the agent, and, where it says so, the number of fixed tests; fitted on the training folds of "
        "each pool (ridge 10). They have no ties, in which the plain rule hands in the default.\n\n"
        + _table(("rule, k = 3", "pools", "held out Δ [95 %]", "pools above 0", "against the best in training"), rows)
    )


def _line(record: Mapping[str, Any]) -> tuple[str, ...]:
    held_out = record["held_out"]
    return _delta(held_out), _above(held_out), _delta(held_out["vs_best_in_training"]), _delta(record["known_default"])


def _doses(study: dict[str, Any]) -> str:
    columns = ("held out Δ [95 %]", "pools above 0", "against the best in training", "known default")
    by_members = study["by_members"]
    writers = [
        (" + ".join(markdown(name) for name in record["writers"]), *_line(record))
        for record in study["by_writers"].values()
    ]
    writers.append((f"all {len(study['data']['writers'])}", *_line(by_members["3"])))
    doses = "; ".join(
        f"{dose['writers']}: {_signed(dose['held_out'])} ({_signed(dose['known_default'])})"
        for dose in study["by_number_of_writers"]
    )
    members = [
        (f"{k} ({r['pools']} {'pool' if r['pools'] == 1 else 'pools'}; oracle {r['oracle']:.0f})", *_line(r))
        for k, r in by_members.items()
    ]
    gaps = [
        (
            f"{gap['from']}–{gap['to']}" if gap["to"] is not None else f"{gap['from']} and more",
            f"{gap['pools']}",
            *_line(gap),
        )
        for gap in by_members["3"]["by_gap"]
    ]
    return (
        f"## More writers, more members, closer members\n\n{_table(('writers of tests, k = 3', *columns), writers)}\n"
        f"Means by number of writers, held out (known default): {doses}.\n\n"
        f"{_table(('k', *columns), members)}\n"
        f"{_table(('instances between best and worst member, k = 3', 'pools', *columns), gaps)}"
    )


def _verifier(study: dict[str, Any]) -> str:
    rows = [
        (f"{r['auc']:.2f}", _signed(r["delta"]), f"{r['share_of_pools_above']:.0%}")
        for r in study["simulated_verifier"]
    ]
    signals = [
        (
            name.replace("_", " "),
            _or_dash(s["within"], ".3f"),
            _or_dash(s["overall"], ".3f"),
            f"{s['silent_on']} of {s['mixed_instances']}",
            _or_dash(s["right_where_it_speaks"], ".0%"),
        )
        for name, s in {**study["signals"], **study["existing_tests"].get("signals", {})}.items()
    ]
    found = [*study["simulated_silent_verifier"], *study["simulated_verifier"]]
    shares = sorted({r["speaks_on"] for r in found})
    by_auc = {(r["auc"], r["speaks_on"]): r for r in found}
    grid = [
        (f"{auc:.2f}", *(_signed(by_auc[auc, share]["delta"]) for share in shares))
        for auc in sorted({r["auc"] for r in study["simulated_silent_verifier"]})
    ]
    return (
        "## What it would take\n\n**Simulated**: an independent score of every attempt with this AUC within an "
        "instance, pools of 3 of all agents. It never abstains.\n\n"
        + _table(("AUC", "Δ", "pools above 0"), rows)
        + "\nThe same score on a random share of the instances only; on the others the best member in hindsight is "
        "handed in (optimistic). Silence costs little where the score is poor:\n\n"
        + _table(("AUC", *(f"Δ, speaks on {share:.0%}" for share in shares)), grid)
        + "\nMeasured signals, alone. *Silent*: no right attempt differs from a wrong one in it. The number of fixed "
        "tests brings more than its AUC over all instances suggests, because it is silent where it knows nothing and "
        "the default then decides. It brings less than the simulated scores: in pools of 3 it speaks less often than "
        "over all agents, and its errors need not be independent.\n\n"
        + _table(("signal", "AUC within an instance", "AUC overall", "silent on", "right where it speaks"), signals)
    )


def _sequential(study: dict[str, Any]) -> str:
    records = study.get("sequential")
    if not records:
        return ""
    rows = [(f"{r['cost_weight']:g}", f"{r['attempts_per_instance']:.2f}", *_line(r)) for r in records]
    columns = ("attempts", "held out Δ [95 %]", "pools above 0", "against the best in training", "known default")
    return (
        "## One after the other\n\n`select:sequential=true`: the default runs first, and the next member while its "
        "expected gain (from tests, agreement, and the rates in training) is worth its cost; k = 3. λ is in resolved "
        "instances per attempt, as costs are unknown.\n\n" + _table(("λ", *columns), rows)
    )


def _existing(study: dict[str, Any]) -> str:
    if not study:
        return ""
    alarms = ", ".join(
        f"{who} {a['alarms']} of {a['of']} ({a['alarms'] / a['of']:.0%})"
        for who, a in study["alarms"].items()
        if a is not None
    )
    rows = [
        (name.replace("_", " "), str(gain["pools"]), _delta(gain), _above(gain))
        for name, gain in study["gains"].items()
    ]
    return (
        f"## Existing tests\n\nReally run before and after each patch on {study['instances']} instances of "
        f"{', '.join(markdown(name) for name in study['repositories'])} on which verdicts differ. At least one newly "
        f"failing test: {alarms}.\n\n"
        "Gains are on these instances only, with the default known (optimistic). *Without obsolete* takes away the "
        "tests that the reference patch breaks too, which only an **oracle** can. The gate from 3 broken tests on "
        "was found on these instances, after looking.\n\n"
        + _table(("rule, k = 3", "pools", "Δ [95 %]", "pools above 0"), rows)
    )


def _confidence(study: dict[str, Any]) -> str:
    found = study["confidence"]
    if not found:
        return ""
    published, refitted = found["published"], found["refitted"]
    bins = [
        (f"{a['predicted']:.2f} → {a['observed']:.2f}", f"{b['predicted']:.2f} → {b['observed']:.2f}", str(a["n"]))
        for a, b in zip(published["bins"], refitted["bins"], strict=True)
    ]
    overall = study["signals"].get("mean_similarity", {}).get("overall")
    several = f" With all others (mean similarity) the AUC is {_or_dash(overall, '.3f')}."
    weights, refits = (
        [_signed(fit[name], 2) for name in ("constant", "seq", "equal")] for fit in (published, refitted)
    )
    prior, equal, close = found["prior_alone"], found["equal_patches"], found["accept_from_0.8"]
    return (
        "## Confidence from agreement with one other attempt\n\n"
        f"`logit P(right) = logit(prior) {weights[0]} {weights[1]}·ratio {weights[2]}·equal`, the prior being the "
        "model's rate in training. The three numbers were fitted on these attempts by those who published them. "
        f"Refitted in each training fold: {', '.join(refits)} (prior × {refitted['prior']:.2f}).\n\n"
        f"AUC overall {_or_dash(published['overall'], '.3f')} (refitted, held out: "
        f"{_or_dash(refitted['overall'], '.3f')}; the prior alone: {_or_dash(prior['overall'], '.3f')}); "
        f"within an instance {_or_dash(published['within'], '.3f')}; Brier score "
        f"{published['brier']:.3f} at a base rate of {found['base_rate']:.1%}.{several} Equal patches "
        f"({equal['share']:.0%} of pairs) are right in {_or_dash(equal['right'], '.1%')}, a "
        f"ratio of 0.8 or more ({close['share']:.0%}) in {_or_dash(close['right'], '.1%')}.\n\n"
        + _table(("published: predicted → observed", "refitted: predicted → observed", "predictions"), bins)
    )


def _or_dash(value: float | None, spec: str) -> str:
    return "–" if value is None else format(value, spec)


def _delta(found: Mapping[str, Any]) -> str:
    low, high = found["ci95"]
    return f"{_signed(found['delta'])} [{_signed(low)}, {_signed(high)}]"


def _signed(value: float, digits: int = 1) -> str:
    # + 0.0: no negative zero
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def _above(found: Mapping[str, Any]) -> str:
    return f"{found['share_of_pools_above']:.0%}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
