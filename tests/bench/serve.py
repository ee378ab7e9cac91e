"""What the endpoint adds to an answer: the same conversations straight to the stand-ins' server, and through it.

    python tests/bench/serve.py                       # 50 conversations at once, 6 turns each, 1 s a call
    python tests/bench/serve.py --conversations 10 --delay 0.2

Clients keep their connections, as agents do. What is compared is each answer's time from request to last byte; the
first turn's embedding, which the endpoint reports itself, is listed apart. Rounds alternate.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from measure import keep, options, table

from agents.scripted.server import ScriptedServer
from harness.config import DatasetConfig
from harness.instances import load_dataset
from harness.sample import PLAYBOOK
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

MODELS = ("scripted-small", "scripted-large")


def checkpoint(folder: Path) -> Path:
    """A router over made-up outcomes: what it decides does not matter here."""
    statements = [instance.problem_statement for instance in load_dataset(DatasetConfig(name="sample")).instances]
    solved = [[i % 2, 1 - i % 2] for i in range(len(statements))]
    embedder = Embedder()
    outcomes = OutcomeMatrix.build([str(i) for i in range(len(statements))], MODELS, solved, cost=[[0.01, 0.3]] * 15)
    policy = make_policy("knn", n_neighbors=1).fit(embedder.encode(statements), outcomes)
    Router(policy, MODELS, embedder).save(folder / "router.safetensors")
    return folder / "router.safetensors"


async def talk(url: str, model: str, conversations: int, turns: int, tag: str) -> tuple[list[float], list[float]]:
    """Seconds of every answer, and of every embedding that the endpoint reported."""
    answers: list[float] = []
    embeddings: list[float] = []

    async def one(index: int) -> None:
        text = f"conversation {tag} {index}: the parser drops the last line of a file without a newline. " * 20
        messages = [{"role": "user", "content": text}]
        async with httpx.AsyncClient(timeout=120) as client:
            for turn in range(turns):
                started = time.perf_counter()
                answer = await client.post(f"{url}/chat/completions", json={"model": model, "messages": messages})
                answer.raise_for_status()
                took = time.perf_counter() - started
                embedding = float(answer.headers.get("x-polyswe-deciding-ms", 0)) / 1000
                if turn == 0:
                    embeddings.append(embedding)
                answers.append(took - embedding)
                messages.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"]})
                messages.append({"role": "user", "content": "go on"})

    await asyncio.gather(*(one(index) for index in range(conversations)))
    return answers, embeddings


def main() -> None:
    given = options("serve", __doc__, conversations=50, turns=6, delay=1.0, rounds=2)
    with tempfile.TemporaryDirectory() as folder, ScriptedServer(PLAYBOOK, delay=given.delay) as behind:
        pool = Path(folder) / "pool.yaml"
        price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
        entries = [
            {"name": n, "model": f"openai/{n}", "api_base": behind.url, "scripted": True, **price} for n in MODELS
        ]
        pool.write_text(json.dumps({"dataset": {"name": "sample"}, "pool": entries}))
        options_ = ["--config", str(pool), "--port", "0"]
        served = subprocess.Popen(
            [sys.executable, "-m", "harness", "serve", str(checkpoint(Path(folder))), *options_],
            stderr=subprocess.PIPE, text=True, env=os.environ | {"POLYSWE_API_KEY": ""},
        )  # fmt: skip
        assert served.stderr is not None
        found = re.search(r"http://\S+?/v1", served.stderr.readline())
        assert found, "the endpoint did not start"
        straight: list[float] = []
        through: list[float] = []
        embeddings: list[float] = []
        asyncio.run(talk(found[0], "polyswe", 4, 1, "warm"))  # the first call imports what LiteLLM needs
        for number in range(given.rounds):
            straight += asyncio.run(talk(behind.url, MODELS[0], given.conversations, given.turns, f"s{number}"))[0]
            more = asyncio.run(talk(found[0], "polyswe", given.conversations, given.turns, f"t{number}"))
            through += more[0]
            embeddings += more[1]
        served.terminate()
        served.wait()
    added = 1000 * (statistics.median(through) - statistics.median(straight))
    row = {
        "conversations": given.conversations,
        "answers": len(through),
        "straight ms": round(1000 * statistics.median(straight), 1),
        "through ms": round(1000 * statistics.median(through), 1),
        "added ms (median)": round(added, 1),
        "added ms (p95)": round(
            1000 * (statistics.quantiles(through, n=20)[18] - statistics.quantiles(straight, n=20)[18]), 1
        ),
        "embedding ms (median)": round(1000 * statistics.median(embeddings), 1),
    }
    table([row])
    keep(
        given.out, "latency the endpoint adds beyond the embedding; the models are scripted stand-ins", row, ["litellm"]
    )


if __name__ == "__main__":
    main()
