"""Which nodes of the cluster can work, and which of them a cell should go to. The queueing is Ray's."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.errors import NodeLostError
from harness.run.engines import ray_node
from harness.run.engines.ray_node import Needs

EXAMINED_WITHIN = 900.0
"""Seconds a node may take to prepare itself; the sample's images are built in it."""
LOOK_EVERY = 5.0
"""Seconds between two looks at who is in the cluster."""
UNFIT_FOR = 60.0
"""Seconds until an unfit node is examined again: its Docker Engine may have been restarted, its disk cleared."""


@dataclass
class _Node:
    """What is known of a node."""

    name: str
    cpus: float
    fit: bool = False
    examining: bool = False
    examined: float = -UNFIT_FOR
    """When it was examined last, on the monotonic clock."""
    swept: bool = False
    """What a killed run left there is gone. Later containers of the run are its own."""
    unfit: str = ""
    """Why, as last told to the user."""
    in_hand: int = 0
    """Cells there now."""


class Nodes:
    """The cluster's nodes, the cells each has in hand, and which images it has seen."""

    def __init__(
        self, needs: Needs, cpus: float, say: Callable[[str], None], give_up: Callable[[], bool] = lambda: False
    ) -> None:
        """cpus: what a cell occupies at most; a node with fewer takes none. give_up: asked while waiting for nodes."""
        self.needs = needs
        self.cpus = cpus
        self.say = say
        self.give_up = give_up
        self._examine = ray.remote(num_cpus=0, max_retries=0)(ray_node.examine)
        self._nodes: dict[str, _Node] = {}
        self._images: dict[str, str] = {}
        """Image → the node that took it first."""
        self._looked = -LOOK_EVERY
        self._changed = threading.Condition()

    def look(self) -> int:
        """See who joined and who left the cluster, examine the new ones and wait for them; how many are fit."""
        with self._changed:
            self._look()
            while any(node.examining for node in self._nodes.values()) and not self.give_up():
                self._changed.wait(1)
            return sum(node.fit for node in self._nodes.values())

    @contextmanager
    def place(self, image: str) -> Iterator[tuple[str, NodeAffinitySchedulingStrategy]]:
        """A node for a cell: the one that has its image unless that is busier than others by more than it has CPUs.

        Raises:
            NodeLostError: no node is fit.
        """
        with self._changed:
            at = self._choose(image)
            self._images[image] = at
            self._nodes[at].in_hand += 1
        try:
            yield at, NodeAffinitySchedulingStrategy(at, soft=False)
        finally:
            with self._changed:
                self._nodes[at].in_hand -= 1

    def leave_out(self, node: str, why: str) -> None:
        """The node gets no further cells until it has been found fit again."""
        with self._changed:
            self._unfit(self._nodes[node], why)

    def doubt(self, node: str) -> None:
        """A cell's task was lost there: the node gets no other before it has been examined again."""
        with self._changed:
            known = self._nodes[node]
            if known.fit:
                self._unfit(known, "it lost a cell's task; it is examined again, if it is still there")
                known.examined = -UNFIT_FOR

    def wait(self, patience: float) -> bool:
        """Whether a node is fit, now or within `patience` seconds."""
        until = time.monotonic() + patience
        while not self.look():
            if self.give_up() or time.monotonic() >= until:
                return False
            time.sleep(1)
        return True

    def sweep(self) -> None:
        """Remove the run's containers from every node that still answers, also from those that were left out."""
        sweep = ray.remote(num_cpus=0, max_retries=0)(ray_node.sweep_node)
        with self._changed:
            alive = _alive()
            nodes = [node for node, known in self._nodes.items() if known.swept and node in alive]
        jobs = [
            sweep.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(self.needs.label)
            for node in nodes
        ]
        ready, late = ray.wait(jobs, num_returns=len(jobs), timeout=60) if jobs else ([], [])
        for job in ready:
            try:
                ray.get(job)
            except RayError as error:  # the node went meanwhile, or its engine did
                self.say(f"a node could not be swept ({_line(error)}); the next start does it")
        if late:
            self.say(f"{len(late)} nodes could not be swept within a minute; the next start does it")

    def _choose(self, image: str) -> str:
        while True:
            if time.monotonic() - self._looked >= LOOK_EVERY:
                self._look()
            fit = {name: node for name, node in self._nodes.items() if node.fit}
            if fit:
                break
            if not any(node.examining for node in self._nodes.values()):
                raise NodeLostError("no node of the cluster can work: see why above, or add one")
            self._changed.wait(1)
        idlest = min(fit, key=lambda name: (fit[name].in_hand / fit[name].cpus, fit[name].name))
        at = self._images.get(image, idlest)
        return at if at in fit and fit[at].in_hand <= fit[idlest].in_hand + max(1, fit[at].cpus) else idlest

    def _look(self) -> None:
        """Examinations go on in threads of their own: a node that hangs must not hold up the others' cells."""
        self._looked = time.monotonic()
        alive = _alive()
        for name, node in self._nodes.items():
            if node.fit and name not in alive:
                node.fit = False
                self.say(f"node {node.name} is gone")
        for name, found in alive.items():
            cpus = float(found["Resources"].get("CPU", 0))
            node = self._nodes.setdefault(name, _Node(f"{found['NodeManagerAddress']}/{name[:8]}", cpus))
            if node.fit or node.examining or self._looked - node.examined < UNFIT_FOR:
                continue
            node.examined = self._looked
            if cpus < self.cpus:
                if cpus > 0:  # a node with none was meant to take no cells
                    self._unfit(node, f"a cell needs {self.cpus:g} CPUs, it has {cpus:g}")
                continue
            node.examining = True
            needs = replace(self.needs, label="") if node.swept else self.needs
            node.swept = True
            threading.Thread(target=self._examined, args=(name, node, needs), daemon=True).start()

    def _examined(self, name: str, node: _Node, needs: Needs) -> None:
        strategy = NodeAffinitySchedulingStrategy(name, soft=False)
        try:
            job = self._examine.options(scheduling_strategy=strategy).remote(needs, ray_node.versions())
            unfit = ray.get(job, timeout=EXAMINED_WITHIN)
        except RayError as error:
            unfit = f"it could not be examined ({_line(error)})"
        with self._changed:
            node.examining = False
            node.examined = time.monotonic()
            if unfit:
                self._unfit(node, unfit)
            else:
                node.fit, node.unfit = True, ""
            self._changed.notify_all()

    def _unfit(self, node: _Node, why: str) -> None:
        node.fit = False
        if why != node.unfit:
            self.say(f"node {node.name} is left out: {why}")
        node.unfit = why


def _alive() -> dict[str, dict[str, Any]]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
