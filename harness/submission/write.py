"""The two trees of a submission: the public one with every artifact, and the leaderboard's entry.

Layout as in SWE-bench/experiments and in the `submit package` command of swebench's development branch:

    submission-repo/  all_preds.jsonl  logs/<id>/{patch.diff,report.json,test_output.txt}  trajs/<id>.traj.json
    evaluation/<split>/<YYYYMMDD>_<name>/  metadata.yaml  README.md  per_instance_details.json
                                           results/{results.json,resolved_by_repo.json,resolved_by_time.json}
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from harness.data.rows import ALIASES
from harness.errors import InputError
from harness.submission.about import TODO, About
from harness.submission.collect import TRAJECTORY, Attempted, Collected
from harness.submission.evidence import TEST_OUTPUT
from harness.submission.tree import MAX_FILE_BYTES
from harness.text import markdown

PUBLIC = "submission-repo"
ENTRIES = "evaluation"
MANIFEST = "polyswe.json"
CHECKLIST = {
    "pass@1": "Is a pass@1 submission (does not attempt the same task instance more than once)",
    "tests": "Does not use SWE-bench test knowledge (`PASS_TO_PASS`, `FAIL_TO_PASS`)",
    "hints": "Does not use the `hints` field in SWE-bench",
    "web": "Does not have web-browsing OR has taken steps to prevent lookup of SWE-bench solutions via web-browsing",
}
"""The four lines of SWE-bench/experiments' checklist.md."""


def submission_id(system: str, date: str) -> str:
    """`20260901_My-System`, the folder's name.

    Raises:
        InputError: a name that makes no folder.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}", system):
        raise InputError(
            f"--system {system!r}: a system's name is 1-64 letters, digits, spaces, '.', '_', '+' or '-' and starts "
            "with a letter or digit"
        )
    return f"{date}_{re.sub(r' +', '-', system.strip())}"


def split_of(dataset: str) -> str:
    """The leaderboard's name of a dataset: verified, lite, test, multilingual; a file's stem for others."""
    names = {hub.lower(): short for short, hub in ALIASES.items()} | {short: short for short in ALIASES}
    split = names.get(dataset.lower(), Path(dataset).stem)
    return "test" if split == "full" else re.sub(r"[^A-Za-z0-9_.-]+", "-", split)


def write_package(collected: Collected, system: str, split: str, about: About, root: Path) -> Path:
    """Write both trees into the empty folder `root`; returns the entry's folder. Nothing is checked here."""
    name = submission_id(system, collected.date)
    entry = root / ENTRIES / split / name
    (entry / "results").mkdir(parents=True)
    label = name.partition("_")[2]
    _write_public(collected, label, root / PUBLIC)
    scored = {attempt.instance.instance_id: attempt for attempt in collected.attempts}
    rows = [instance.row for instance in collected.dataset.instances if instance.instance_id in scored]
    resolved = {instance for instance, attempt in scored.items() if attempt.resolved}
    lists = {
        "no_generation": sorted(i for i, attempt in scored.items() if not attempt.patch),
        "no_logs": sorted(i for i, a in scored.items() if a.patch and not (a.folder / TEST_OUTPUT).is_file()),
        "resolved": sorted(resolved),
    }
    _json(entry / "results" / "results.json", lists)
    _json(entry / "results" / "resolved_by_repo.json", breakdown(rows, resolved, repository))
    _json(entry / "results" / "resolved_by_time.json", breakdown(rows, resolved, year))
    details = {
        instance: {"resolved": attempt.resolved, "cost": attempt.cost_usd, "api_calls": attempt.api_calls}
        for instance, attempt in sorted(scored.items())
    }
    _json(entry / "per_instance_details.json", details)
    header = "# Written by polyswe. Replace every TODO; `assets` is added once the public tree has an address.\n"
    metadata = yaml.safe_dump(_metadata(collected, system, about), sort_keys=False, allow_unicode=True)
    (entry / "metadata.yaml").write_text(header + metadata, encoding="utf-8")
    (entry / "README.md").write_text(_readme(collected, system, split, about, lists, rows), encoding="utf-8")
    return entry


def breakdown(rows: Iterable[Mapping[str, Any]], resolved: set[str], key: Any) -> dict[str, dict[str, int]]:
    """Resolved and total by a key of the instances; instances without one are left out."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        if (group := key(row)) is not None:
            count = counts.setdefault(str(group), {"resolved": 0, "total": 0})
            count["total"] += 1
            count["resolved"] += row["instance_id"] in resolved
    return dict(sorted(counts.items()))


def repository(row: Mapping[str, Any]) -> str | None:
    return row.get("repo")


def year(row: Mapping[str, Any]) -> str | None:
    """Year of the instance's `created_at`."""
    try:
        return str(datetime.fromisoformat(str(row.get("created_at")).rstrip("Z")).year)
    except ValueError:
        return None


def _write_public(collected: Collected, label: str, public: Path) -> None:
    (public / "trajs").mkdir(parents=True)
    predictions = []
    for attempt in collected.attempts:
        instance = attempt.instance.instance_id
        predictions.append(
            json.dumps({"instance_id": instance, "model_name_or_path": label, "model_patch": attempt.patch})
        )
        shutil.copyfile(attempt.folder / TRAJECTORY, public / "trajs" / f"{instance}.traj.json")
        if attempt.patch:
            _write_logs(attempt, public / "logs" / instance)
    (public / "all_preds.jsonl").write_text("".join(line + "\n" for line in predictions), encoding="utf-8")
    manifest = {
        "system": label,
        "dataset": collected.dataset.name,
        "fingerprint": collected.dataset.fingerprint,
        "partial": collected.partial,
        "scripted": collected.dataset.scripted or any(model.scripted for model in collected.models),
        "routing": collected.routing,
        "attempts": collected.attempts_tag,
        **({"attempt": collected.attempt, "repeats": collected.repeats} if collected.repeats > 1 else {}),
        "models": {attempt.instance.instance_id: attempt.row.model for attempt in collected.attempts},
        "versions": dict(collected.versions),
    }
    _json(public / MANIFEST, manifest)


def _write_logs(attempt: Attempted, logs: Path) -> None:
    logs.mkdir(parents=True)
    (logs / "patch.diff").write_bytes(attempt.patch.encode())
    report, output = attempt.folder / "report.json", attempt.folder / TEST_OUTPUT
    if report.is_file():
        shutil.copyfile(report, logs / "report.json")
    if not output.is_file():
        return
    if output.stat().st_size <= MAX_FILE_BYTES:
        shutil.copyfile(output, logs / TEST_OUTPUT)
    else:
        with output.open("rb") as plain, gzip.open(logs / f"{TEST_OUTPUT}.gz", "wb") as packed:
            shutil.copyfileobj(plain, packed)


def _metadata(collected: Collected, system: str, about: About) -> dict[str, Any]:
    models = [model.model for model in collected.models]
    tags: dict[str, Any] = {
        "checked": False,
        "model": list(dict.fromkeys(models)),
        "org": about.org,
        "os_model": about.os_model,
        "os_system": about.os_system,
        "system": {"attempts": collected.attempts_tag},
        "agent": _agents(collected) or TODO,
    }
    info = {"name": system, "site": about.site, "report": about.report, "authors": about.authors, "logo": about.logo}
    return {"info": info, "tags": tags}


def _readme(
    collected: Collected, system: str, split: str, about: About, lists: Mapping[str, Sequence[str]], rows: Any
) -> str:
    total, resolved = len(collected.attempts), len(lists["resolved"])
    parts = [f"# {system}"]
    if collected.dataset.scripted:
        parts.append("**Scripted stand-in models: this package shows the path and says nothing of any real model.**")
    if collected.partial:
        parts.append(f"**A trial package over {total} of {len(collected.dataset.instances)} instances.**")
    parts += [about.description] if about.description else []
    agent = markdown(_agents(collected)) if collected.made_elsewhere else _own_agent(collected)
    cost = [attempt.cost_usd for attempt in collected.attempts if attempt.cost_usd is not None]
    mean = f"${sum(cost) / total:.3f} an instance" if cost else "unknown"
    if 0 < len(cost) < total:
        mean = f"at least {mean} (unknown of {total - len(cost)} of {total})"
    models = ", ".join(f"{markdown(model.name)} ({markdown(model.model)})" for model in collected.models)
    parts.append(
        "\n".join(
            [
                "| | |",
                "| --- | --- |",
                f"| Split | `{split}` |",
                f"| Agent | {agent or TODO} |",
                f"| {'Models' if collected.routing else 'Model'} | {models} |",
                f"| Resolved | {resolved} / {total} ({resolved / total:.2%}) |",
                f"| No generation | {len(lists['no_generation'])} |",
                f"| Without test output (patch did not apply) | {len(lists['no_logs'])} |",
                f"| Cost | {mean} |",
                f"| Graded by | swebench {collected.versions.get('swebench', 'unknown')} |",
            ]
        )
    )
    if collected.routing:
        parts.append(f"## Routing\n\n{markdown(collected.routing)}")
    resolved_ids = set(lists["resolved"])
    for title, key in (("Repository", repository), ("Time", year)):
        counts = breakdown(rows, resolved_ids, key)
        if counts:
            lines = [
                f"- {k}: {v['resolved']}/{v['total']} ({v['resolved'] / v['total']:.1%})" for k, v in counts.items()
            ]
            parts.append(f"## Resolved by {title}\n\n" + "\n".join(lines))
    parts.append("## Checklist\n\n" + "\n".join(_checklist(collected, about)))
    parts.append(f"## Report and authors\n\n- Report: {about.report}\n- Site: {about.site}\n- Authors: {about.authors}")
    return "\n\n".join(parts) + "\n"


def _own_agent(collected: Collected) -> str:
    return f"mini-swe-agent {collected.versions.get('mini-swe-agent', '')}".strip()


def _agents(collected: Collected) -> str:
    """What made the attempts; empty where their source does not state it."""
    if not collected.made_elsewhere:
        return "mini-swe-agent"
    names = {model.name for model in collected.models}
    agents = [source.agent for source in collected.config.predictions if source.model in names]
    return ", ".join(dict.fromkeys(filter(None, agents)))


def _checklist(collected: Collected, about: About) -> list[str]:
    """The four lines, each ticked with what it rests on, or left open."""
    if collected.made_elsewhere:
        return [f"- [ ] {line} ({TODO}: polyswe did not make these attempts)" for line in CHECKLIST.values()]
    no_web = about.no_web if about.no_web is not None else collected.config.agent.network == "none"
    evidence = {
        "pass@1": "one cell an instance in the run's store; attempts lost to failures that were not the model's were "
        "never graded"
        if collected.attempts_tag == "1"
        else "no: Best@k, one patch is handed in of several attempts, chosen without tests; see Routing",
        "tests": "the agent's container held the repository without the test patch"
        + ("; the router was fitted on other instances" if collected.routing else ""),
        "hints": "the agent's first message is the problem statement alone",
        "web": "the agent's container had no network" if collected.config.agent.network == "none" else "see the report",
    }
    ticked = {name: name != "web" or no_web for name in CHECKLIST} | {"pass@1": collected.attempts_tag == "1"}
    return [
        f"- [{'x' if ticked[name] else ' '}] {line} ({evidence[name] if ticked[name] or name == 'pass@1' else TODO})"
        for name, line in CHECKLIST.items()
    ]


def _json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
