"""A fitted router: `polyswe fit`, `polyswe route`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands.common import check_output, check_policies, output, quiet_libraries
from harness.commands.env_file import EnvFileOption
from harness.commands.options import CorpusOption, DropLeaksOption, PoolOption, SelectOption, SplitOption
from harness.errors import InputError
from harness.files import why_unread
from harness.text import counted, one_line

if TYPE_CHECKING:
    from router.checkpoint import Header
    from router.router import Route


def fit(
    outcomes: Annotated[list[str], typer.Argument(help="leaderboards.json, CSV, or a run's outcomes.csv.")],
    tasks: Annotated[str, typer.Option(help="Instances with their problem statements: a file or a Hugging Face name.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write, e.g. router.safetensors.")],
    split: SplitOption = "test",
    model: PoolOption = None,
    select: SelectOption = None,
    policy: Annotated[
        str | None, typer.Option(help="The routing policy (default: auto, or cluster with --clusters).")
    ] = None,
    clusters: Annotated[int | None, typer.Option(min=1, help="Number of clusters.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    embedder: Annotated[
        str, typer.Option(help="Any sentence-transformers model, by name or path.")
    ] = "all-MiniLM-L6-v2",
    cost_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of cost, resolved instances per USD; default: the policy's own.")
    ] = None,
    auxiliary: Annotated[
        list[str] | None, typer.Option(help="Outcomes of extra runs used only to estimate difficulty; never routed to.")
    ] = None,
    corpus: CorpusOption = None,
    drop_leaks: DropLeaksOption = False,
    config: Annotated[Path | None, typer.Option(help="A run's configuration, for the pool's prices.")] = None,
    repeats: Annotated[
        int, typer.Option(min=0, help="Repeats of the cross-fitting for the held-out figures; 0 omits these figures.")
    ] = 1,
    env_file: EnvFileOption = None,
) -> None:
    """Fit a router on recorded outcomes and write its checkpoint (one file, no pickle).

    Example:

        polyswe fit results/sample/outcomes.csv --tasks sample --out router.safetensors --clusters 5
    """
    quiet_libraries()
    from harness.fitting import FitSettings, fit_router

    check_output(out, folder=False)
    check_policies([policy] if policy else ())
    settings = FitSettings(
        split=split,
        pool=model,
        select=select or (),
        policy=policy,
        clusters=clusters,
        seed=seed,
        embedder=embedder,
        cost_weight=cost_weight,
        auxiliary=auxiliary or (),
        corpus=corpus,
        drop_leaks=drop_leaks,
        config=config,
        repeats=repeats,
    )
    fitted = fit_router(outcomes, tasks, out, settings)
    output(fitted.summary)
    for note in fitted.notes:
        output(f"- {note}")


def route(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that `polyswe fit` wrote.")],
    text: Annotated[list[str] | None, typer.Argument(help="Problem statements (default: standard input).")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one problem statement.")] = None,
    select: SelectOption = None,
    instance: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    tasks: Annotated[str | None, typer.Option(help="Instances: a file or a Hugging Face name.")] = None,
    split: SplitOption = "test",
    exclude: Annotated[
        list[str] | None, typer.Option(help="Never choose this model, given by a part of its name (repeatable).")
    ] = None,
    cost_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of cost, resolved instances per USD; default: the checkpoint's.")
    ] = None,
    trust_embedder: Annotated[
        bool,
        typer.Option(
            "--trust-embedder", help="Load the embedder that the checkpoint names, even if it is not the default."
        ),
    ] = False,
) -> None:
    """Choose a model for a problem and explain the choice.

    Examples:

        polyswe route router.safetensors "TypeError in the date parser for ISO week numbers"

        polyswe route router.safetensors --tasks verified --select "repo=django/* sample=3@1"
    """
    quiet_libraries()
    from harness.config import RouterConfig
    from harness.config.selection import ids_term
    from harness.data.embeddings import embed_texts
    from harness.data.model_names import match_names
    from harness.fitting import load_router

    # an option of earlier versions, as a term
    terms = [*(select or ()), *([ids_term(instance)] if instance else ())]
    texts = text or ([] if file or terms else [sys.stdin.read()])
    if not all(t.strip() for t in texts):
        raise InputError("nothing to route: give the problem statement as an argument or on standard input")
    labelled = texts_to_route(texts, file, terms, tasks, split=split)
    router = load_router(checkpoint, RouterConfig(trust_embedder=trust_embedder))
    without = match_names(exclude or [], [model.name for model in router.models])
    if len(without) == len(router.models):
        raise InputError("--exclude leaves no model to choose")
    embeddings = embed_texts([statement for _, statement in labelled], router.embedder)
    try:
        routes = router.route_embeddings(embeddings, cost_weight, without)
    except ValueError as error:  # arrays of another width than the embedder's vectors
        raise InputError(f"{checkpoint}: {error}; fit it again") from error
    for (label, _), decision in zip(labelled, routes, strict=True):
        output(render_route(decision, label))


def explain(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that `polyswe fit` wrote.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, including the rates of each cluster.")
    ] = False,
) -> None:
    """Show what a checkpoint contains: policy, pool, held-out figures, clusters.

    Example:

        polyswe explain router.safetensors
    """
    quiet_libraries()
    from harness.fitting import read_header

    header = read_header(checkpoint)
    output(explain_json(header) if json else render_explanation(header))


def texts_to_route(
    arguments: Sequence[str], file: Path | None, select: Sequence[str], tasks: str | None, *, split: str = "test"
) -> list[tuple[str, str]]:
    """(label, problem statement) of everything that is to be routed, in that order. Raises InputError."""
    labelled = [("", text) for text in arguments]
    if file is not None:
        try:
            labelled.append((str(file), file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read ({why_unread(error)})") from error
    if select:
        from harness.config.selection import Selection
        from harness.data.instances import candidates, problem_statements
        from harness.data.rows import load_rows

        if tasks is None:
            raise InputError("--select needs --tasks: the file or dataset with the problem statements")
        rows = load_rows(tasks, split)
        statements = problem_statements(rows, tasks)
        chosen = Selection.parse(select).choose(candidates(rows), f"tasks {tasks}")
        labelled += [(name, statements[name]) for name in chosen]
    if not all(text.strip() for _, text in labelled):
        raise InputError("nothing to route: a problem statement is empty")
    return labelled


def render_route(route: Route, label: str = "") -> str:
    """A decision with its alternatives, best first, and the reason."""
    lines = [f"{one_line(label) + ': ' if label else ''}{one_line(route.model)}    {one_line(route.reason, 400)}"]
    for rank, estimate in enumerate(route.scores, 1):
        cost = "cost unknown" if estimate.cost_usd is None else f"${estimate.cost_usd:.3f}"
        lines.append(f"  {rank}. {one_line(estimate.model)}: P(resolved) {estimate.score:.2f}, {cost}")
    if route.words:
        lines.append(f"  among training instances about: {one_line(', '.join(route.words))}")
    if route.neighbours:
        near = ", ".join(f"{one_line(one.instance)} ({one.similarity:.2f})" for one in route.neighbours)
        lines.append(f"  nearest (cosine similarity): {near}")
    return "\n".join(lines)


def explain_json(header: Header) -> str:
    """Everything a checkpoint says of itself; `heatmap` is the clusters × models matrix of rates and counts."""
    models = [model.name for model in header.models]
    document = header.model_dump(mode="json", exclude={"instances"}) | {
        "training_instances": len(header.instances),
        "heatmap": {
            "clusters": [note.cluster for note in header.clusters],
            "models": models,
            "rates": [[note.rates[model] for model in models] for note in header.clusters],
            "counts": [[note.counts[model] for model in models] for note in header.clusters],
        },
    }
    return json.dumps(document, indent=1) + "\n"  # ASCII: it may be shown in a terminal


def render_explanation(header: Header) -> str:
    """The same for a terminal."""
    from harness.evaluation.formats import usd
    from harness.fitting import render_figures

    lines = [
        f"{one_line(header.policy)} router over {len(header.models)} models, embedder {one_line(header.embedder)}",
        *(f"  {one_line(model.name)}: {usd(model.mean_cost_usd)} an instance" for model in header.models),
        one_line(render_figures(header.figures), 2000),
    ]
    if not header.clusters:
        return "\n".join([*lines, "It remembers no training instances: fit it again to see its clusters."])
    use = "it decides by" if header.own_clusters else "to look at, it does not decide by them"
    lines.append(f"{len(header.clusters)} clusters of {len(header.instances)} training instances ({use}):")
    for note in header.clusters:
        if not note.size:  # of general clusters, some may be of no issue
            continue
        known = {model: rate for model, rate in note.rates.items() if rate is not None}
        best = max(known, key=lambda model: known[model], default=None)
        leader = (
            "no verdict is known" if best is None else f"most resolved by {one_line(best)}, {known[best]:.0%} of them"
        )
        lines.append(f"  {note.cluster}: {counted(note.size, 'instance')}, {leader} (in-sample)")
        if note.words:
            lines.append(f"     words: {one_line(', '.join(note.words))}")
        if note.instances:
            lines.append(f"     e.g. {one_line(', '.join(note.instances), 600)}")
    return "\n".join(lines)
