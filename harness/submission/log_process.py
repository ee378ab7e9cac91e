"""The process that grades logs: a JSON line a log on standard input, a JSON line an answer on standard output."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from swebench.harness.grading import get_eval_report
from swebench.harness.utils import make_test_spec

from harness.grading.suspect import suspicions


def main() -> None:
    with suppress(ValueError, OSError):  # where the system has no such limit, the time is still limited
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a parser may print
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, float(sys.argv[2]))  # ends the process when it is over
        answer = _answer(json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), file=answers, flush=True)


def _answer(job: Mapping[str, Any]) -> dict[str, Any]:
    row, patch, log = job["row"], job["patch"], Path(job["log"])
    prediction = {"instance_id": row["instance_id"], "model_patch": patch, "model_name_or_path": "checked"}
    try:
        spec = make_test_spec({"eval_script": "", "image": "", **row})
        report = get_eval_report(spec, prediction, str(log), include_tests_status=False)
        signs = suspicions(row, patch, log.read_text(encoding="utf-8", errors="replace"))
    except UnicodeDecodeError as error:
        return {"error": f"no text: {error.reason} at byte {error.start}"}
    except MemoryError:
        return {"error": "takes more memory than a log may", "costly": True}
    except Exception as error:  # noqa: BLE001 - a parser met what it was not made for; that is a fact of the log
        return {"error": f"the official grader fails on it ({type(error).__name__}: {str(error)[:100]})"}
    return {"resolved": bool(report[row["instance_id"]]["resolved"]), "suspicions": sorted({s.kind for s in signs})}


if __name__ == "__main__":
    main()
