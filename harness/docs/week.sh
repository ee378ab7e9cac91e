#!/bin/bash
# A week of benchmark work on the embedded sample: no key, no money. harness/docs/real-run.md explains each step.
#
#     make setup engine && bash harness/docs/week.sh [FOLDER]
#
# Everything is written below FOLDER (default: build/week).
set -euo pipefail

clone=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
command -v polyswe >/dev/null || export PATH="$clone/.venv/bin:$PATH"
mkdir -p "${1:-build/week}" && cd "${1:-build/week}"

step() { printf '\n== %s\n' "$1"; }
run() {
    local words=()
    for word in "$@"; do [[ $word == *[[:space:]]* ]] && words+=("\"$word\"") || words+=("$word"); done
    echo "\$ ${words[*]}" && "$@"
}

step "1. Write a configuration"
# for real models, as you would begin; the rest of this script uses the sample's stand-ins
run polyswe init my.yaml --force --model anthropic/claude-sonnet-4-5-20250929 --model gemini/gemini-2.5-pro
cat > week.yaml <<'YAML'
dataset:
  name: sample
  select: ["id=*-101|*-201|*-301|*-303"]   # 4 of the 15 instances, to be quick
pool:
  - name: scripted-small
    model: openai/scripted-small
    api_base: scripted
    scripted: true
    input_cost_per_token: 0.00000025
    output_cost_per_token: 0.000002
    max_parallel: 2                         # attempts at the same time
  - name: scripted-medium
    model: openai/scripted-medium
    api_base: scripted
    scripted: true
    input_cost_per_token: 0.00000125
    output_cost_per_token: 0.00001
    rpm: 600                                # calls a minute
  - name: scripted-large
    model: openai/scripted-large
    api_base: scripted
    scripted: true
    input_cost_per_token: 0.000005
    output_cost_per_token: 0.000025
    tpm: 10000000                           # tokens a minute
router: {policy: [auto, cluster], params: {n_clusters: 2, min_count: 1}, folds: 2, repeats: 2}
agent: {step_limit: 20, cost_limit: 1.0}
run: {repeats: 2, agent_workers: 4, grading_workers: 2, grading_timeout: 600, max_cost: 10}
YAML

step "2. Is everything there?"
run polyswe doctor week.yaml

step "3. What will it cost?"
run polyswe evaluate week.yaml --dry-run

step "4. Run it, and look at it from a second process"
echo "\$ polyswe evaluate week.yaml"
polyswe evaluate week.yaml > evaluate.log 2>&1 &
evaluation=$!
# until the first cell has a verdict
until grep -qs cell_graded results/week/events.jsonl || ! kill -0 "$evaluation" 2>/dev/null; do sleep 1; done
run polyswe status results/week
wait "$evaluation" || { code=$?; cat evaluate.log; exit "$code"; }
cat evaluate.log
run polyswe cells results/week

step "5. Redo one model's empty patches"
run polyswe evaluate week.yaml --redo "empty patch" --model small --dry-run
run polyswe evaluate week.yaml --redo "empty patch" --model small
run polyswe cells results/week --state empty --model small

step "6. Grade predictions that other tools wrote"
# stand-ins for other agents: the first attempts of scripted-small, in the format of each tool
python3 - results/week/predictions/scripted-small.jsonl <<'PYTHON'
import json
import sys
from pathlib import Path


def write(path, *rows):
    path = Path("foreign", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


predictions = [json.loads(line) for line in open(sys.argv[1])]
patches = {row["instance_id"]: row["model_patch"] or "" for row in predictions}


def rows(model):
    return {
        instance: {"instance_id": instance, "model_name_or_path": model, "model_patch": patch}
        for instance, patch in patches.items()
    }


stats = {"instance_cost": 0.25, "api_calls": 2, "tokens_sent": 200, "tokens_received": 20}
write("plain/preds.json", rows("plain"))
write("mini/preds.json", rows("mini"))
write("submission/all_preds.jsonl", *rows("submission").values())
Path("foreign/submission/metadata.yaml").write_text("info:\n  name: submission\n")
write(
    "openhands/output.jsonl",
    *(
        {
            "instance_id": instance,
            "test_result": {"git_patch": patch},
            "metadata": {"llm_config": {"model": "m"}},
            "metrics": {"accumulated_cost": 0.25},
            "history": [],
        }
        for instance, patch in patches.items()
    ),
)
write("harbor/result.json", {"stats": {}})
for instance, patch in patches.items():
    info = {"exit_status": "Submitted", "submission": patch, "model_stats": stats}
    mini = {"info": info, "messages": [], "trajectory_format": "mini-swe-agent-1.1"}
    write(f"mini/{instance}/{instance}.traj.json", mini)
    write(f"swe-agent/{instance}/{instance}.pred", rows("swe-agent")[instance])
    write(f"swe-agent/{instance}/{instance}.traj", {"trajectory": [], "history": [], "info": info})
    trial = {
        "task_name": f"swe-bench/{instance}",
        "trial_name": f"{instance}__Ab3",
        "agent_info": {"name": "claude-code", "version": "1", "model_info": {"name": "m"}},
        "agent_result": {"n_input_tokens": 200, "n_output_tokens": 20, "cost_usd": 0.25},
    }
    write(f"harbor/{instance}__Ab3/result.json", trial)
    if patch:
        artifact = Path(f"foreign/harbor/{instance}__Ab3/artifacts/model.patch")
        artifact.parent.mkdir(parents=True, exist_ok=True)
        artifact.write_text(patch)
PYTHON
cd foreign
run polyswe grade plain/preds.json mini swe-agent openhands harbor submission \
    --dataset sample --run-id foreign --out ../results
cd ..
run polyswe status results/foreign

step "7. Compare"
run polyswe compare results/week::scripted-small results/foreign::mini --out results/comparison

step "8. Export"
run polyswe export results/week --to csv --out week.csv
run polyswe export results/week --to parquet --out week.parquet
