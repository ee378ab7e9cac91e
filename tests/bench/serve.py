"""What the endpoint adds to an answer: the same conversations straight to the stand-ins' server, and through it.

    python tests/bench/serve.py                       # 50 conversations at once, 8 turns each, 1 s a call
    python tests/bench/serve.py --conversations 10 --delay 0.2

Clients keep their connections, as agents do. What is compared is each answer's time from request to last byte; the
first turn's embedding, which the endpoint reports itself, is listed apart. Two ways to arrive: `agents` work for a
random while (the same on both sides, up to a call's time) between two calls; in `lockstep` all conversations send at
the same instant, every turn, which no fleet of agents does. Clients, stand-ins and endpoint are a process each and
share this machine. Rounds alternate. `processor ms per answer` is the endpoint's own work, without embedding.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
from measure import keep, options, table

from agents.scripted.server import ScriptedServer
from harness.config import DatasetConfig
from harness.data.instances import load_dataset
from harness.sample import PLAYBOOK
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

MODELS = ("scripted-small", "scripted-large")


def checkpoint(folder: Path) -> None:
    """A router over made-up outcomes: what it decides does not matter here."""
    statements = [instance.problem_statement for instance in load_dataset(DatasetConfig(name="sample")).instances]
    solved = [[i % 2, 1 - i % 2] for i in range(len(statements))]
    embedder = Embedder()
    outcomes = OutcomeMatrix.build([str(i) for i in range(len(statements))], MODELS, solved, cost=[[0.01, 0.3]] * 15)
    policy = make_policy("knn", n_neighbors=1).fit(embedder.encode(statements), outcomes)
    Router(policy, MODELS, embedder).save(folder / "router.safetensors")


def stand_ins(delay: float, out: Connection) -> None:
    with ScriptedServer(PLAYBOOK, delay=delay) as server:
        out.send(server.url)
        out.recv()  # until the measurement is over


async def talk(
    url: str, model: str, conversations: int, turns: int, tag: str, work: float = 0.0
) -> tuple[list[float], list[float]]:
    """Seconds of every answer beyond the embedding, and of every embedding that the endpoint reported."""
    answers: list[float] = []
    embeddings: list[float] = []

    async def one(index: int) -> None:
        drawn = random.Random(index)
        text = f"conversation {tag} {index}: the parser drops the last line of a file without a newline. " * 20
        messages = [{"role": "user", "content": text}]
        async with httpx.AsyncClient(timeout=120) as client:
            for turn in range(turns):
                await asyncio.sleep(drawn.uniform(0, work))
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


def processor_seconds(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def endpoint(behind: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Address and process id of an endpoint of its own process, before the stand-ins at `behind`."""
    pool = folder / "pool.yaml"
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    entries = [{"name": n, "model": f"openai/{n}", "api_base": behind, "scripted": True, **price} for n in MODELS]
    pool.write_text(json.dumps({"dataset": {"name": "sample"}, "pool": entries}))
    options_ = ["--config", str(pool), "--port", "0"]
    served = subprocess.Popen(
        [sys.executable, "-m", "harness", "serve", str(folder / "router.safetensors"), *options_],
        stderr=subprocess.PIPE, text=True, env=os.environ | {"POLYSWE_API_KEY": ""},
    )  # fmt: skip
    assert served.stderr is not None
    found = re.search(r"http://\S+?/v1", served.stderr.readline())
    assert found, "the endpoint did not start"
    try:
        asyncio.run(talk(found[0], "polyswe", 4, 1, "warm"))  # the first call imports what LiteLLM needs
        yield found[0], served.pid
    finally:
        served.terminate()
        served.wait()


def milliseconds(values: list[float], at: int) -> float:
    """A percentile."""
    return 1000 * statistics.quantiles(values, n=100)[at - 1]


def measure(arrival: str, work: float, straight_to: str, through: str, given: argparse.Namespace) -> dict[str, object]:
    """One row: both ways in turn, round after round."""
    known: list[float] = []
    found: list[float] = []
    embeddings: list[float] = []
    for number in range(given.rounds):
        size = given.conversations, given.turns, f"{arrival} {number}", work
        known += asyncio.run(talk(straight_to, MODELS[0], *size))[0]
        more = asyncio.run(talk(through, "polyswe", *size))
        found += more[0]
        embeddings += more[1]
    return {
        "arrival": arrival,
        "answers": len(found),
        "straight ms": round(milliseconds(known, 50), 1),
        "through ms": round(milliseconds(found, 50), 1),
        "added ms (median)": round(milliseconds(found, 50) - milliseconds(known, 50), 1),
        "embedding ms (median)": round(1000 * statistics.median(embeddings), 1),
    }


def main() -> None:
    given = options("serve", __doc__, conversations=50, turns=8, delay=1.0, rounds=2)
    here, there = multiprocessing.Pipe()
    behind = multiprocessing.get_context("spawn").Process(target=stand_ins, args=(given.delay, there))
    behind.start()
    straight_to = here.recv()
    rows = []
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            checkpoint(folder)
            with endpoint(straight_to, folder) as (through, process):
                for arrival, work in (("agents", given.delay), ("lockstep", 0.0)):
                    rows.append(measure(arrival, work, straight_to, through, given))
                asyncio.run(talk(through, "polyswe", 10, 1, "known"))
                before = processor_seconds(process)
                answers, _ = asyncio.run(talk(through, "polyswe", 10, given.turns, "known"))
                each = 1000 * (processor_seconds(process) - before) / len(answers)
    finally:
        here.send("over")
        behind.join()
    table(rows)
    keep(
        given.out,
        "latency the endpoint adds beyond the embedding; the models are scripted stand-ins",
        {"conversations": given.conversations, "processor ms per answer": round(each, 1), "rows": rows},
        ["litellm", "fastapi", "uvicorn"],
    )


if __name__ == "__main__":
    main()
