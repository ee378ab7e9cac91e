"""A run as logs of Inspect (inspect_ai), one for each model, written by its own library."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.pool import ModelConfig
from harness.data.instances import Instance
from harness.files import make_folder, slug
from harness.grading.verdict import Verdict
from harness.run.run_record import RunRecord
from harness.store.rows import CellRow, State
from harness.store.run_folder import PATCH_FILE, TRAJECTORY_FILE

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.model import ChatMessage

SCORER = "swebench"


def export_inspect(record: RunRecord, out: Path) -> str:
    """Write `<model>.eval` for each model into a folder; returns what was written.

    An instance is a sample, a repeated attempt another epoch; the score is 1 where the patch resolves the instance.
    Cells without a verdict are samples with an error and without a score.
    """
    from inspect_ai.log import write_eval_log

    make_folder(out)
    written = []
    for model in record.config.pool:
        rows = [row for row in record.rows if row.model == model.name]
        if rows:
            path = out / f"{slug(model.name)}.eval"
            write_eval_log(_log(record, model, rows), str(path))
            written.append(path.name)
    return f"{len(written)} logs in {out}: {', '.join(written)} (inspect view --log-dir {out})"


def _log(record: RunRecord, model: ModelConfig, rows: Sequence[CellRow]) -> EvalLog:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalMetric, EvalResults, EvalScore, EvalSpec, EvalStats
    from inspect_ai.model import ModelUsage

    instances = {instance.instance_id: instance for instance in record.dataset.instances}
    samples = [_sample(record, instances[row.instance_id], model, row) for row in rows]
    graded = [row for row in rows if row.state is State.GRADED]
    resolved = [row.verdict is Verdict.RESOLVED for row in graded]
    rate = sum(resolved) / len(graded) if graded else 0.0
    error = math.sqrt(rate * (1 - rate) / (len(graded) - 1)) if len(graded) > 1 else 0.0
    times = sorted(row.updated_at for row in rows)
    usage = [_usage(row) for row in rows]
    return EvalLog(
        status="success" if len(graded) == len(rows) else "cancelled",
        eval=EvalSpec(
            created=times[0],
            task=f"polyswe/{record.dataset.name}",
            task_id=f"{record.folder.label}/{slug(model.name)}",
            run_id=record.folder.label,
            dataset=EvalDataset(
                name=record.dataset.title,
                samples=len({row.instance_id for row in rows}),
                sample_ids=list(dict.fromkeys(row.instance_id for row in rows)),
            ),
            model=model.model,
            config=EvalConfig(epochs=max(row.attempt for row in rows)),
            metadata={"model": model.name, "run": record.folder.path.name, "scripted": model.scripted},
        ),
        results=EvalResults(
            total_samples=len(rows),
            completed_samples=len(graded),
            scores=[
                EvalScore(
                    name=SCORER,
                    scorer=SCORER,
                    scored_samples=len(graded),
                    unscored_samples=len(rows) - len(graded),
                    metrics={
                        "accuracy": EvalMetric(name="accuracy", value=rate),
                        "stderr": EvalMetric(name="stderr", value=error),
                    },
                )
            ],
        ),
        stats=EvalStats(
            started_at=times[0],
            completed_at=times[-1],
            model_usage={
                model.model: ModelUsage(
                    input_tokens=sum(one.input_tokens for one in usage),
                    output_tokens=sum(one.output_tokens for one in usage),
                    total_tokens=sum(one.total_tokens for one in usage),
                    total_cost=sum(one.total_cost or 0.0 for one in usage),
                )
            },
        ),
        samples=samples,
    )


def _sample(record: RunRecord, instance: Instance, model: ModelConfig, row: CellRow) -> EvalSample:
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    graded = row.state is State.GRADED
    messages = list(_messages(record.folder.cell_dir(row.cell) / TRAJECTORY_FILE))
    score = Score(value=int(row.verdict is Verdict.RESOLVED), explanation=str(row.verdict)) if graded else None
    reason = f"{row.failure or row.state}: {row.detail}"
    return EvalSample(
        id=row.instance_id,
        epoch=row.attempt,
        input=_text(instance.problem_statement),
        target="1",
        messages=messages,
        output=ModelOutput(model=model.model, usage=_usage(row)),
        scores={SCORER: score} if score else None,
        error=None if graded else EvalError(message=_text(reason), traceback="", traceback_ansi=""),
        model_usage={model.model: _usage(row)},
        total_time=row.agent_seconds,
        working_time=row.agent_seconds,
        metadata={
            "verdict": None if row.verdict is None else str(row.verdict),
            "exit_status": row.exit_status,
            "cost_usd": row.cost_usd,
            "api_calls": row.api_calls,
            "repo": instance.repo,
            "patch": _patch(record, row),
        },
    )


def _usage(row: CellRow) -> Any:
    from inspect_ai.model import ModelUsage

    prompt, completion, cached = row.prompt_tokens or 0, row.completion_tokens or 0, row.cached_tokens or 0
    return ModelUsage(
        input_tokens=prompt - cached,
        output_tokens=completion,
        total_tokens=prompt + completion,
        input_tokens_cache_read=cached,
        total_cost=row.cost_usd,
    )


def _patch(record: RunRecord, row: CellRow) -> str:
    path = record.folder.cell_dir(row.cell) / PATCH_FILE
    return _text(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else ""


def _messages(trajectory: Path) -> Iterator[ChatMessage]:
    """The conversation; nothing where there is none, or none that can be read."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser
    from inspect_ai.tool import ToolCall

    try:
        messages = json.loads(trajectory.read_text(encoding="utf-8"))["messages"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    for message in messages if isinstance(messages, list) else []:
        if not isinstance(message, dict):
            continue
        content = _content(message.get("content"))
        match message.get("role"):
            case "system":
                yield ChatMessageSystem(content=content)
            case "user":
                yield ChatMessageUser(content=content)
            case "tool":
                yield ChatMessageTool(content=content, tool_call_id=str(message.get("tool_call_id") or ""))
            case "assistant":
                calls = [
                    ToolCall(id=_text(call_id), function=_text(name), arguments=arguments, parse_error=fault)
                    for call_id, name, arguments, fault in _calls(message.get("tool_calls"))
                ]
                yield ChatMessageAssistant(content=content, tool_calls=calls or None)


def _calls(calls: object) -> Iterator[tuple[str, str, dict[str, Any], str | None]]:
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        raw, fault = function.get("arguments"), None
        try:
            arguments = json.loads(_text(raw)) if isinstance(raw, str) else raw
        except (ValueError, RecursionError) as error:
            arguments, fault = {"arguments": _text(str(raw))}, type(error).__name__
        if not isinstance(arguments, dict):
            arguments = {"arguments": arguments}
        yield str(call.get("id") or ""), str(function.get("name") or ""), arguments, fault


def _content(content: object) -> str:
    """Text of a message, also of one in parts."""
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return _text("".join(text for text in texts if isinstance(text, str)))


def _text(text: str) -> str:
    """Text that can be written: half a surrogate pair cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
