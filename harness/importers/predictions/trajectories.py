"""What trajectories of several agents state about an attempt, each in the form of mini-swe-agent's messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.files import UnreadableFileError
from harness.importers.predictions.files import MAX_TRAJECTORY_BYTES, document
from harness.importers.predictions.prediction import AttemptRecord, amount, count, mapping, text
from harness.text import one_line

SUBMITTED = "Submitted"
"""How mini-swe-agent calls an attempt that ended by itself; the others' words for it are read as this."""
COMMAND_KEYS = ("command", "cmd", "keystrokes", "raw_action", "input", "code")
"""Arguments of a tool call that hold a command, in the order they are looked for."""


def record_in(path: Path | None) -> AttemptRecord:
    """What a trajectory file states; nothing where it is missing, damaged, too large or of an unknown form."""
    if path is None:
        return AttemptRecord()
    try:
        content = document(path, MAX_TRAJECTORY_BYTES)
    except (UnreadableFileError, OSError):
        return AttemptRecord()
    if not isinstance(content, dict):
        return AttemptRecord()
    if isinstance(content.get("steps"), list):
        return atif(content)
    if isinstance(content.get("trajectory"), list):
        return swe_agent(content)
    return mini_swe_agent(content) if isinstance(content.get("messages"), list) else AttemptRecord()


def mini_swe_agent(content: Mapping[str, Any]) -> AttemptRecord:
    """A `.traj.json` of mini-swe-agent: `info.model_stats`, and tokens and times in the messages."""
    info = mapping(content.get("info"))
    stats = mapping(info.get("model_stats"))
    messages = [_with_actions(message) for message in content["messages"] if isinstance(message, dict)]
    extras = [mapping(message.get("extra")) for message in messages]
    replies = [mapping(extra.get("response")) for extra in extras if extra.get("response")]
    times = [time for extra in extras if (time := amount(extra.get("timestamp"))) is not None]
    calls = count(stats.get("api_calls"))
    usages = [mapping(reply.get("usage")) for reply in replies]
    whole = bool(usages) and len(usages) == calls  # else some call's tokens are not in the file
    return AttemptRecord(
        cost_usd=amount(stats.get("instance_cost")),
        api_calls=calls,
        prompt_tokens=_total(usages, "prompt_tokens") if whole else None,
        completion_tokens=_total(usages, "completion_tokens") if whole else None,
        cached_tokens=_total([mapping(usage.get("prompt_tokens_details")) for usage in usages], "cached_tokens")
        if whole
        else None,
        seconds=max(times) - min(times) if len(times) > 1 else None,
        exit_status=exit_status(info.get("exit_status")),
        messages=messages,
    )


def swe_agent(content: Mapping[str, Any]) -> AttemptRecord:
    """A `.traj` of SWE-agent: `info.model_stats`, and a step for each action."""
    info = mapping(content.get("info"))
    stats = mapping(info.get("model_stats"))
    return AttemptRecord(
        cost_usd=amount(stats.get("instance_cost")),
        api_calls=count(stats.get("api_calls")),
        prompt_tokens=count(stats.get("tokens_sent")),
        completion_tokens=count(stats.get("tokens_received")),
        exit_status=exit_status(info.get("exit_status")),
        messages=[*_prompt(content.get("history")), *_swe_agent_steps(content["trajectory"])],
    )


def openhands(line: Mapping[str, Any]) -> AttemptRecord:
    """A line of OpenHands' `output.jsonl`: `metrics`, and the events of `history`."""
    metrics = mapping(line.get("metrics"))
    tokens = mapping(metrics.get("accumulated_token_usage"))
    history = line.get("history")
    events = [event for pair in (history if isinstance(history, list) else []) for event in _events(pair)]
    calls = [metrics.get(name) for name in ("token_usages", "response_latencies")]
    error = " ".join(text(line.get("error")).split())
    finished = any(event.get("action") == "finish" or _kind(event) == "FinishAction" for event in events)
    return AttemptRecord(
        cost_usd=amount(metrics.get("accumulated_cost")),
        api_calls=next((len(each) for each in calls if isinstance(each, list) and each), None),
        prompt_tokens=count(tokens.get("prompt_tokens")),
        completion_tokens=count(tokens.get("completion_tokens")),
        cached_tokens=count(tokens.get("cache_read_tokens")),
        seconds=_span([event.get("timestamp") for event in events]),
        exit_status=one_line(error, 80) if error else SUBMITTED if finished else None,
        messages=[message for event in events for message in _openhands_messages(event)],
    )


def atif(content: Mapping[str, Any]) -> AttemptRecord:
    """A trajectory in the Agent Trajectory Interchange Format, as harbor writes it."""
    totals = mapping(content.get("final_metrics"))
    steps = [step for step in content["steps"] if isinstance(step, dict)]
    calls = [count(step.get("llm_call_count")) for step in steps if step.get("source") == "agent"]
    known = [number for number in calls if number is not None]
    return AttemptRecord(
        cost_usd=amount(totals.get("total_cost_usd")),
        api_calls=sum(known) if known and len(known) == len(calls) else None,
        prompt_tokens=count(totals.get("total_prompt_tokens")),
        completion_tokens=count(totals.get("total_completion_tokens")),
        cached_tokens=count(totals.get("total_cached_tokens")),
        seconds=_span([step.get("timestamp") for step in steps]),
        messages=[message for step in steps for message in _atif_messages(step)],
    )


def exit_status(value: object) -> str | None:
    """How an attempt ended, in the source's own words; None where it does not say."""
    status = one_line(text(value), 80)
    return SUBMITTED if status.lower() == "submitted" else status or None


def _total(usages: Sequence[Mapping[str, Any]], name: str) -> int | None:
    numbers = [number for usage in usages if (number := count(usage.get(name))) is not None]
    return count(sum(numbers)) if numbers else None


def _span(times: Sequence[object]) -> float | None:
    """Seconds between the first and the last of some ISO times."""
    known = []
    for time in times:
        try:
            known.append(datetime.fromisoformat(text(time)).replace(tzinfo=None))
        except ValueError:
            continue
    return (max(known) - min(known)).total_seconds() if len(known) > 1 else None


# ---- messages ----


def _with_actions(message: dict[str, Any]) -> dict[str, Any]:
    """A message of mini-swe-agent whose commands are where version 2 has them; version 1 has them in its text."""
    extra = {**mapping(message.get("extra"))}
    actions = extra.get("actions")
    if message.get("role") != "assistant" or isinstance(actions, list):
        extra["actions"] = [a for a in (actions if isinstance(actions, list) else []) if isinstance(a, dict)]
    else:
        blocks = _parts(message.get("content")).split("```")[1::2]
        extra["actions"] = [{"command": block.partition("\n")[2].strip()} for block in blocks]
    return {**message, "extra": extra}


def _reply(said: object, commands: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """What an agent said and ran: (id, command) for each command."""
    actions = [{"command": command, "tool_call_id": name} for name, command in commands]
    return {"role": "assistant", "content": text(said), "extra": {"actions": actions}}


def _result(name: str, output: object, code: object = None) -> dict[str, Any]:
    """What came back from a command."""
    shown = _parts(output)
    extra: dict[str, Any] = {"raw_output": shown}
    if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 2**31:
        extra["returncode"] = code
        shown = f"<returncode>{code}</returncode>\n{shown}"
    return {"role": "tool", "content": shown, "tool_call_id": name, "extra": extra}


def _parts(content: object) -> str:
    """A text, also where it comes in parts."""
    if isinstance(content, list):
        return "\n".join(text(mapping(part).get("text")) for part in content)
    return text(content)


def _prompt(history: object) -> Iterator[dict[str, Any]]:
    """What SWE-agent shows its model before its first reply, without demonstrations."""
    for item in history if isinstance(history, list) else []:
        if not isinstance(item, dict) or item.get("role") not in ("system", "user"):
            return
        if not item.get("is_demo"):
            yield {"role": item["role"], "content": _parts(item.get("content"))}


def _swe_agent_steps(steps: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for number, step in enumerate(steps):
        step = mapping(step)
        action = text(step.get("action"))
        yield _reply(step.get("thought") or step.get("response"), [(str(number), action)] if action else [])
        yield _result(str(number), step.get("observation"))


def _events(pair: object) -> Iterator[Mapping[str, Any]]:
    """Old files hold pairs of an action and its observation, later ones one event after the other."""
    for event in pair if isinstance(pair, list) else [pair]:
        if isinstance(event, dict):
            yield event


def _kind(event: Mapping[str, Any]) -> str:
    return text(mapping(event.get("action")).get("kind"))


def _openhands_messages(event: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One event, of the first OpenHands (`action: run`) or of its agent SDK (`kind: ActionEvent`)."""
    name = text(event.get("tool_call_id")) or str(event.get("cause", event.get("id", "")))[:80]
    action, observation = event.get("action"), event.get("observation")
    if isinstance(action, str):
        arguments = mapping(event.get("args"))
        if event.get("source") == "user":
            yield {"role": "user", "content": text(arguments.get("content"))}
        else:
            yield _reply(arguments.get("thought") or arguments.get("content"), _commands(name, arguments))
    elif isinstance(action, dict):
        yield _reply(_parts(event.get("thought")), _commands(name, action))
    elif isinstance(observation, str):
        metadata = mapping(mapping(event.get("extras")).get("metadata"))
        yield _result(name, event.get("content"), metadata.get("exit_code"))
    elif isinstance(observation, dict):
        code = observation.get("exit_code", mapping(observation.get("metadata")).get("exit_code"))
        yield _result(name, observation.get("content", observation.get("output")), code)
    elif isinstance(message := event.get("llm_message"), dict):
        role = "user" if message.get("role") != "assistant" else "assistant"
        yield {"role": role, "content": _parts(message.get("content"))}


def _atif_messages(step: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    calls = step.get("tool_calls")
    commands = [
        command
        for call in (calls if isinstance(calls, list) else [])
        for command in _commands(text(mapping(call).get("tool_call_id")), mapping(mapping(call).get("arguments")))
    ]
    if step.get("source") == "agent":
        yield _reply(_parts(step.get("message")), commands)
    else:
        yield {"role": "user", "content": _parts(step.get("message"))}
    results = mapping(step.get("observation")).get("results")
    for result in results if isinstance(results, list) else []:
        yield _result(text(mapping(result).get("source_call_id")), mapping(result).get("content"))


def _commands(name: str, arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The command in a tool's arguments: a text, or words of which the last one is a shell's script."""
    for key in COMMAND_KEYS:
        value = arguments.get(key)
        if isinstance(value, list):
            value = value[-1] if value else ""
        if command := text(value):
            return [(name, command)]
    return []
