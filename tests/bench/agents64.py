"""What orchestration costs: many agents at once against a server that waits, in containers that do nothing.

    python tests/bench/agents64.py                        # 64 agents, 5 s a call, 20 calls each, three times
    python tests/bench/agents64.py --agents 16 --calls 5

Each agent is `run_agent` as a run uses it: mini-swe-agent's loop, LiteLLM over real HTTP, a trajectory written after
every call, a command after every reply. 5 s a call is what real models take. Docker's command line is a stand-in that
answers at once, since the containers' cost is the engine's; the server is a process of its own. The ideal is
calls × delay: nobody waits for anything but the server. Throughput is the ideal divided by the measured time, imports
excluded.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from measure import keep, options, table

from agents.attempt import AgentTask
from agents.container.environment import SUBMIT_MARKER
from agents.container.host import DockerHost
from agents.pool import ModelConfig
from agents.runner import AgentConfig, run_agent

SERVER = """
import asyncio, json, sys
CALLS, DELAY, MARKER = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
served = 0
async def serve(reader, writer):
    global served
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lines = head.lower().split(b"\\r\\n")
            length = next(int(l.split(b":")[1]) for l in lines if l.startswith(b"content-length"))
            request = json.loads(await reader.readexactly(length))
            warm_up = request["model"] == "warm-up"
            await asyncio.sleep(0 if warm_up else DELAY)
            turn = sum(m["role"] == "assistant" for m in request["messages"])
            last = warm_up or turn + 1 >= CALLS
            command = f"echo {MARKER}" if last else f"sed -n '{turn},80p' src/module.py"
            call = {"id": f"call_{turn}", "type": "function",
                    "function": {"name": "bash", "arguments": json.dumps({"command": command})}}
            body = json.dumps({"id": f"r{turn}", "object": "chat.completion", "created": 1, "model": "waiting",
                "choices": [{"index": 0, "finish_reason": "tool_calls", "message":
                    {"role": "assistant", "content": "I look at the next lines. " * 8, "tool_calls": [call]}}],
                "usage": {"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 960}}).encode()
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\n")
            writer.write(b"Content-Length: %d\\r\\n\\r\\n" % len(body))
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

DOCKER = f"""#!/bin/bash
# stands for docker's client: answers `exec` and `inspect` itself, the other commands do nothing
case "$1 ${{@: -1}}" in
    exec*{SUBMIT_MARKER}*) echo {SUBMIT_MARKER}; echo 'diff --git a/x b/x' ;;
    exec*cut | exec*known) echo 0000000000000000000000000000000000000000 ;;
    exec*sed*) echo 'def f(value):'; echo '    return value + 1'; echo '# a line as long as such lines are' ;;
    inspect*) echo running 2026-01-01T00:00:00Z 0 0 ;;
esac
"""


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    chosen = options("agents64", __doc__, agents=64, calls=20, delay=5.0, rounds=3)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "bin").mkdir()
        (root / "bin" / "docker").write_text(DOCKER)
        (root / "bin" / "docker").chmod(0o755)
        os.environ["PATH"] = f"{root / 'bin'}:{os.environ['PATH']}"
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(chosen.calls), str(chosen.delay), SUBMIT_MARKER],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
            run_one(url, 0, root, calls=1, model="warm-up")  # imports, and what LiteLLM does at its first call
            before = rss_mb()
            rounds = [
                {"round": number} | measured(url, chosen.agents, chosen.calls, chosen.delay, root, before)
                for number in range(1, chosen.rounds + 1)
            ]
        finally:
            server.kill()
            server.wait()
    table(rounds)
    throughput = statistics.median(figures["throughput"] for figures in rounds)
    print(f"throughput {throughput:.2f} of the ideal (median of {len(rounds)} rounds)")
    keep(
        chosen.out,
        f"{chosen.agents} concurrent agents, {chosen.calls} calls each, {chosen.delay:g} s a call, empty containers",
        {"goal": "throughput at least 0.95", "rounds": rounds},
        ["mini-swe-agent", "litellm", "httpx", "openai"],
    )


HOST = DockerHost()


def run_one(url: str, number: int, root: Path, *, calls: int, model: str = "waiting") -> int:
    """Calls that one agent has made."""
    entry = ModelConfig(name=model, model=f"openai/{model}", api_base=url, free=True, scripted=True)
    config = AgentConfig(step_limit=calls + 5, cost_limit=0)
    task = AgentTask(
        instance_id=f"bench__agent-{number}", problem_statement="The parser loses a column. " * 40, image="no-image"
    )
    return run_agent(task, entry, config, out_dir=root / "out" / str(number), labels={}, host=HOST).api_calls


def measured(url: str, agents: int, calls: int, delay: float, root: Path, before: float) -> dict[str, float]:
    cpu, peak = sum(os.times()[:4]), rss_mb()
    with ThreadPoolExecutor(agents) as pool:
        started = time.monotonic()
        running = [pool.submit(run_one, url, number, root, calls=calls) for number in range(agents)]
        while not all(future.done() for future in running):
            peak = max(peak, rss_mb())
            time.sleep(0.05)
        seconds = time.monotonic() - started
        made = sum(future.result() for future in running)
    cpu = sum(os.times()[:4]) - cpu
    assert made == agents * calls, f"{made} calls, not {agents * calls}"
    size = (root / "out" / "0" / "trajectory.json").stat().st_size
    assert json.loads((root / "out" / "0" / "trajectory.json").read_text())["info"]["exit_status"] == "Submitted"
    return {
        "agents": agents,
        "calls": made,
        "ideal_seconds": calls * delay,
        "seconds": round(seconds, 2),
        "throughput": round(calls * delay / seconds, 3),
        "cpu_ms_per_call": round(cpu / made * 1000, 1),
        "mb_per_agent": round((peak - before) / agents, 2),
        "trajectory_kb": round(size / 1024, 1),
    }


if __name__ == "__main__":
    main()
