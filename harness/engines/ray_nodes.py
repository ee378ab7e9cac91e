"""Which nodes of the cluster can work, and which of them a cell should go to. The queueing is Ray's."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.engines import ray_node
from harness.engines.ray_node import Needs
from harness.errors import NodeLostError

EXAMINED_WITHIN = 900.0
"""Seconds a node may take to prepare itself; the sample's images are built in it."""
LOOK_EVERY = 5.0
"""Seconds between two looks at who is in the cluster."""


class Nodes:
    """The fit nodes, the cells each has in hand, and which images it has seen."""

    def __init__(self, needs: Needs, say: Callable[[str], None], give_up: Callable[[], bool]) -> None:
        self.needs = needs
        self.say = say
        self.give_up = give_up
        self._examine = ray.remote(num_cpus=0, max_retries=0)(ray_node.examine)
        self._fit: dict[str, float] = {}
        """Node id → its CPUs."""
        self._known: dict[str, str] = {}
        """Node id → name, of all that were ever examined."""
        self._in_hand: Counter[str] = Counter()
        self._images: dict[str, str] = {}
        """Image → the node that took it first."""
        self._looked = 0.0
        self._guard = threading.Lock()

    def look(self) -> int:
        """See who joined and who left the cluster, examine the new ones; how many are fit."""
        with self._guard:
            self._look()
            return len(self._fit)

    def names(self) -> list[str]:
        with self._guard:
            return [self._known[node] for node in self._fit]

    @contextmanager
    def place(self, image: str) -> Iterator[tuple[str, NodeAffinitySchedulingStrategy]]:
        """A node for a cell: the one that has its image unless that is busier than others by more than it has CPUs.

        Raises:
            NodeLostError: no node is fit.
        """
        with self._guard:
            if time.monotonic() - self._looked > LOOK_EVERY:
                self._look()
            if not self._fit:
                raise NodeLostError("no node of the cluster can work: see why above, or add one")
            idlest = min(self._fit, key=lambda node: (self._in_hand[node] / self._fit[node], self._known[node]))
            at = self._images.get(image, idlest)
            if at not in self._fit or self._in_hand[at] > self._in_hand[idlest] + max(1, self._fit[at]):
                at = idlest
            self._images[image] = at
            self._in_hand[at] += 1
        try:
            yield at, NodeAffinitySchedulingStrategy(at, soft=False)
        finally:
            with self._guard:
                self._in_hand[at] -= 1

    def leave_out(self, node: str, why: str) -> None:
        """The node gets no further cells in this run."""
        with self._guard:
            if self._fit.pop(node, None) is not None:
                self.say(f"node {self._known[node]} is left out: {why}")

    def doubt(self, node: str) -> None:
        """A cell's task was lost there: the node gets no other before it has been examined again."""
        with self._guard:
            if self._fit.pop(node, None) is not None:
                self.say(f"node {self._known.pop(node)} lost a cell's task: it is examined again, if it is still there")

    def wait(self, patience: float) -> bool:
        """Whether a node is fit, now or within `patience` seconds."""
        until = time.monotonic() + patience
        while not self.look():
            if self.give_up() or time.monotonic() >= until:
                return False
            time.sleep(1)
        return True

    def sweep(self) -> None:
        """Remove the run's containers from every node that still answers."""
        sweep = ray.remote(num_cpus=0, max_retries=0)(ray_node.sweep_node)
        jobs = [
            sweep.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(self.needs.label)
            for node in self._fit
        ]
        ready, _ = ray.wait(jobs, num_returns=len(jobs), timeout=60) if jobs else ([], [])
        for job in ready:
            try:
                ray.get(job)
            except RayError as error:  # the node went meanwhile, or its engine did; the next start sweeps
                self.say(f"a node could not be swept ({_line(error)})")

    def _look(self) -> None:
        self._looked = time.monotonic()
        alive: dict[str, dict[str, Any]] = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        for gone in self._fit.keys() - alive.keys():
            del self._fit[gone]
            self.say(f"node {self._known[gone]} is gone")
        new = [node for node in alive if node not in self._known]
        jobs = {}
        for node in new:
            self._known[node] = f"{alive[node]['NodeManagerAddress']}/{node[:8]}"
            strategy = NodeAffinitySchedulingStrategy(node, soft=False)
            jobs[node] = self._examine.options(scheduling_strategy=strategy).remote(self.needs, ray_node.versions())
        for node, job in jobs.items():
            try:
                unfit = ray.get(job, timeout=EXAMINED_WITHIN)
            except RayError as error:
                unfit = f"it could not be examined ({_line(error)})"
            if unfit:
                self.say(f"node {self._known[node]} is left out: {unfit}")
            else:
                self._fit[node] = max(1.0, float(alive[node]["Resources"].get("CPU", 1)))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
