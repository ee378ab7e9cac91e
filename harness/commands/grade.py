"""Grading what others made: `polyswe grade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import output, quiet_libraries, say, typed_words
from harness.commands.env_file import EnvFileOption
from harness.commands.evaluate import check_start, report_end
from harness.commands.options import (
    AddressOption,
    EngineOption,
    FreshOption,
    GradingWorkersOption,
    OutOption,
    SelectOption,
)
from harness.errors import EXIT_ENVIRONMENT, InputError
from harness.files import slug


def grade(
    predictions: Annotated[
        list[Path], typer.Argument(help="Files or folders: preds.json, .jsonl, or an agent's output folder.")
    ],
    dataset: Annotated[
        str,
        typer.Option(
            help="The dataset that the predictions are for, such as verified; takes the same values as dataset.name."
        ),
    ],
    run_id: Annotated[
        str | None, typer.Option(help="Name of the run folder; the same name continues the same run.")
    ] = None,
    model_name: Annotated[
        str | None, typer.Option(help="Name of the model, instead of the name in the predictions.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the dataset.")] = "test",
    select: SelectOption = None,
    out: OutOption = None,
    fresh: FreshOption = False,
    grading_workers: GradingWorkersOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting, e.g. run.grading_timeout=3600 (repeatable)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be graded, with time and disk; start nothing.")
    ] = False,
    env_file: EnvFileOption = None,
) -> None:
    """Grade predictions that other agents made, with the official harness. The same command continues a killed run.

    The result is an ordinary run folder: report, compare, status, cells, show, submit and replay accept it.

    Examples:

        polyswe grade preds.json --dataset verified --run-id my-agent

        polyswe grade sonnet/preds.json openhands/output.jsonl --dataset verified --run-id two-agents

    The exit codes are those of evaluate.
    """
    quiet_libraries()
    if fresh and select:
        raise InputError("--fresh puts the whole run aside, not only what is selected; choose another --run-id")
    from harness.commands.next_steps import say_next_steps
    from harness.config import parse_settings
    from harness.config.selection import with_files_read
    from harness.data.instances import load_dataset
    from harness.importers.predictions import read_predictions
    from harness.run.interrupt import stop_on_signals
    from harness.run.pipeline import evaluate as run
    from harness.run.predictions import Predictions, grading_config, missing_notes
    from harness.store.run_folder import RunFolder

    sources = [read_predictions(path, model_name) for path in dict.fromkeys(predictions)]
    short_forms = {
        "dataset.name": dataset,
        "dataset.split": split,
        "dataset.select": with_files_read(select) if select else None,
        "run.grading_workers": grading_workers,
        "run.engine": engine,
        "run.ray.address": address,
        "out.run_id": run_id or _default_run_id(predictions[0]),
        "out.root": out,
    }
    taken = Predictions(sources)
    changes = {key: value for key, value in short_forms.items() if value is not None}
    config = grading_config(taken, changes | parse_settings(set_ or ()))
    check_start(config, address=address)
    folder = RunFolder(config.out.root / str(config.out.run_id))
    notes = [*(note for source in sources for note in source.notes), *missing_notes(config)]
    if dry_run:
        from harness.run.grading_forecast import forecast_gradings, render

        expected = forecast_gradings(config, taken, load_dataset(config.dataset), folder, notes)
        output(render(expected, folder.path))
        if expected.disk_shortage:
            raise typer.Exit(EXIT_ENVIRONMENT)
        return
    for note in notes:
        say(note)
    with stop_on_signals(folder.label) as stop:
        end = run(config, folder, stop=stop, fresh=fresh, say=say, predictions=taken, command=typed_words("grade"))
    report_end(end, fresh=fresh)
    if end.results is not None:
        say_next_steps(folder, end)


def _default_run_id(path: Path) -> str:
    """The name of the agent's folder, or of a file that has a name of its own."""
    path = path.resolve()
    usual = path.name in ("preds.json", "all_preds.jsonl", "output.jsonl", "predictions.jsonl")
    name = path.name if path.is_dir() else path.parent.name if usual else path.stem
    return slug(name).lstrip("-._")[:64] or "predictions"
