"""What the endpoint adds to an answer: the same conversations straight to the stand-ins' server, and through it.

    python tests/bench/serve.py                       # 50 conversations at once, 8 turns each, 1 s a call
    python tests/bench/serve.py --conversations 10 --delay 0.2

Clients keep their connections, as agents do. What is compared is each answer's time from request to last byte; the
first turn's embedding, which the endpoint reports itself, is listed apart. Two ways to arrive: `agents` work for a
random while (the same on both sides, up to a call's time) between two calls; in `lockstep` all conversations send at
the same instant, every turn, which no fleet of agents does. Answers pass without LiteLLM by default (`openai/` models
at an address); the rows `litellm` are the same address under another provider's name, which takes LiteLLM. Clients,
stand-ins and endpoint are a process each and share this machine. Rounds alternate.
"""

from __future__ import annotations

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
from contextlib import ExitStack, contextmanager
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


@contextmanager
def endpoint(provider: str, behind: str, folder: Path) -> Iterator[str]:
    """The address of an endpoint of its own process, before the stand-ins at `behind`."""
    pool = folder / f"{provider}.yaml"
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}
    entries = [{"name": n, "model": f"{provider}/{n}", "api_base": behind, "scripted": True, **price} for n in MODELS]
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
        yield found[0]
    finally:
        served.terminate()
        served.wait()


def milliseconds(values: list[float], at: int) -> float:
    """A percentile."""
    return 1000 * statistics.quantiles(values, n=100)[at - 1]


def main() -> None:
    given = options("serve", __doc__, conversations=50, turns=8, delay=1.0, rounds=2)
    here, there = multiprocessing.Pipe()
    behind = multiprocessing.get_context("spawn").Process(target=stand_ins, args=(given.delay, there))
    behind.start()
    straight_to = here.recv()
    rows = []
    try:
        with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
            folder = Path(name)
            checkpoint(folder)
            ways = {"": "openai", "litellm": "hosted_vllm"}
            through = {way: stack.enter_context(endpoint(ways[way], straight_to, folder)) for way in ways}
            for arrival, work in (("agents", given.delay), ("lockstep", 0.0)):
                answers: dict[str, list[float]] = {"straight": [], **{way: [] for way in through}}
                embeddings: dict[str, list[float]] = {way: [] for way in through}
                size = given.conversations, given.turns
                for number in range(given.rounds):
                    tag = f"{arrival} {number}"
                    answers["straight"] += asyncio.run(talk(straight_to, MODELS[0], *size, tag, work))[0]
                    for way, url in through.items():
                        more = asyncio.run(talk(url, "polyswe", *size, tag, work))
                        answers[way] += more[0]
                        embeddings[way] += more[1]
                for way in through:
                    known, found = answers["straight"], answers[way]
                    rows.append({
                        "arrival": f"{arrival} {way}".strip(),
                        "answers": len(found),
                        "straight ms": round(milliseconds(known, 50), 1),
                        "through ms": round(milliseconds(found, 50), 1),
                        "added ms (median)": round(milliseconds(found, 50) - milliseconds(known, 50), 1),
                        "added ms (p95)": round(milliseconds(found, 95) - milliseconds(known, 95), 1),
                        "embedding ms (median)": round(1000 * statistics.median(embeddings[way]), 1),
                    })  # fmt: skip
    finally:
        here.send("over")
        behind.join()
    table(rows)
    keep(
        given.out,
        "latency the endpoint adds beyond the embedding; the models are scripted stand-ins",
        {"goal": "at most 15 ms at the median", "conversations": given.conversations, "rows": rows},
        ["litellm", "aiohttp", "uvicorn"],
    )


if __name__ == "__main__":
    main()
