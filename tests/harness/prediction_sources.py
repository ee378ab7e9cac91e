"""Small sources of predictions for the sample, one in each format that others write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.sample import TASK_REPO

RIGHT, WRONG, EMPTY = "polyswe__billing-201", "polyswe__spanset-303", "polyswe__rotator-402"
NO_FIX = "diff --git a/NOTES b/NOTES\nnew file mode 100644\n--- /dev/null\n+++ b/NOTES\n@@ -0,0 +1 @@\n+nothing\n"
COMMANDS = ["git log --oneline", "git log --all -p"]
"""What every agent here has run; the second command looks at later history."""


def gold(instance: str) -> str:
    return (TASK_REPO / "tasks" / instance / "gold.patch").read_text()


def patches() -> dict[str, str]:
    return {RIGHT: gold(RIGHT), WRONG: NO_FIX, EMPTY: ""}


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prediction(instance: str, patch: str | None, model: str) -> dict[str, Any]:
    return {"instance_id": instance, "model_name_or_path": model, "model_patch": patch}


def plain(folder: Path) -> Path:
    rows = [prediction(instance, patch, "plain") for instance, patch in patches().items()]
    return write_lines(folder / "plain.jsonl", rows)


def mini(folder: Path) -> Path:
    """mini-swe-agent 2: cost, calls, tokens and times."""
    out = folder / "mini"
    write_json(out / "preds.json", {i: prediction(i, patch, "mini") for i, patch in patches().items()})
    for instance, patch in patches().items():
        messages: list[dict[str, Any]] = [{"role": "user", "content": "Mend it.", "extra": {}}]
        for number, command in enumerate(COMMANDS):
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50}}
            messages += [
                {
                    "role": "assistant",
                    "content": "I look.",
                    "extra": {
                        "actions": [{"command": command, "tool_call_id": str(number)}],
                        "response": {"usage": usage},
                        "timestamp": 1000.0 + number,
                    },
                },
                {"role": "tool", "tool_call_id": str(number), "content": "<returncode>0</returncode>"},
            ]
        info = {
            "exit_status": "Submitted" if patch else "LimitsExceeded",
            "submission": patch,
            "model_stats": {"instance_cost": 0.25, "api_calls": 2},
        }
        content = {"info": info, "messages": messages, "trajectory_format": "mini-swe-agent-1.1"}
        write_json(out / instance / f"{instance}.traj.json", content)
    return out


def swe_agent(folder: Path) -> Path:
    """SWE-agent without its preds.json: a .pred and a .traj for each instance."""
    out = folder / "swe_agent"
    for instance, patch in patches().items():
        write_json(out / instance / f"{instance}.pred", prediction(instance, patch or None, "swe-agent"))
        steps = [{"action": command, "observation": "", "thought": "I look."} for command in COMMANDS]
        stats = {"instance_cost": 0.25, "api_calls": 2, "tokens_sent": 200, "tokens_received": 20}
        info = {"exit_status": "submitted", "submission": patch, "model_stats": stats}
        history = [{"role": "system", "content": "Mend it."}]
        write_json(out / instance / f"{instance}.traj", {"trajectory": steps, "history": history, "info": info})
    return out


def openhands(folder: Path) -> Path:
    rows = []
    for instance, patch in patches().items():
        events: list[dict[str, Any]] = []
        for number, command in enumerate(COMMANDS):
            action = {"id": 2 * number, "source": "agent", "action": "run", "args": {"command": command}}
            seen = {"id": 2 * number + 1, "cause": 2 * number, "observation": "run", "content": "", "extras": {}}
            events += [action | {"timestamp": f"2026-01-01T00:00:0{number}"}, seen]
        rows.append(
            {
                "instance_id": instance,
                "test_result": {"git_patch": patch.rstrip("\n")},
                "metadata": {"llm_config": {"model": "m"}},
                "metrics": {
                    "accumulated_cost": 0.25,
                    "accumulated_token_usage": {
                        "prompt_tokens": 200, "completion_tokens": 20, "cache_read_tokens": 100,
                    },
                    "token_usages": [{}, {}],
                },
                "history": events,
            }
        )  # fmt: skip
    return write_lines(folder / "openhands" / "output.jsonl", rows).parent


def harbor(folder: Path) -> Path:
    """A job whose trials collected their patches; the trial of the empty one has none."""
    out = folder / "harbor"
    write_json(out / "result.json", {"stats": {}})
    for instance, patch in patches().items():
        trial = out / f"{instance}__Ab3"
        result = {
            "task_name": f"swe-bench/{instance}",
            "trial_name": trial.name,
            "agent_info": {"name": "claude-code", "version": "1", "model_info": {"name": "m"}},
            "agent_result": {
                "n_input_tokens": 200, "n_cache_tokens": 100, "n_output_tokens": 20, "cost_usd": 0.25,
            },
            "agent_execution": {"started_at": "2026-01-01T00:00:00Z", "finished_at": "2026-01-01T00:00:01Z"},
        }  # fmt: skip
        write_json(trial / "result.json", result)
        steps = [
            {
                "source": "agent",
                "message": "I look.",
                "llm_call_count": 1,
                "tool_calls": [
                    {"tool_call_id": command, "function_name": "bash", "arguments": {"command": command}},
                ],
            }
            for command in COMMANDS
        ]
        write_json(trial / "agent" / "trajectory.json", {"schema_version": "ATIF-v1.7", "steps": steps})
        if patch:
            (trial / "artifacts").mkdir()
            (trial / "artifacts" / "model.patch").write_text(patch)
    return out


def experiments(folder: Path) -> Path:
    """A submission: its patches and SWE-agent's trajectories under one name."""
    out = folder / "20260101_mine"
    write_lines(out / "all_preds.jsonl", [prediction(i, patch, "x") for i, patch in patches().items()])
    (out / "metadata.yaml").write_text("info:\n  name: A submission\n")
    (out / "logs").mkdir()
    for instance in patches():
        steps = [{"action": command, "observation": ""} for command in COMMANDS]
        stats = {"instance_cost": 0.25, "api_calls": 2, "tokens_sent": 200, "tokens_received": 20}
        content = {"trajectory": steps, "info": {"exit_status": "submitted", "model_stats": stats}}
        write_json(out / "trajs" / f"{instance}.traj", content)
    return out


SOURCES: Mapping[str, Callable[[Path], Path]] = {
    "plain": plain,
    "mini": mini,
    "swe-agent": swe_agent,
    "OpenHands m": openhands,
    "claude-code m": harbor,
    "A submission": experiments,
}
"""What writes each format, by the name of its model."""
