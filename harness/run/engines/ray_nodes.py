"""Which nodes of the cluster can work, and which of them a cell should go to. Ray queues the tasks of a node."""

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
from harness.run.engines.ray_node import NodeRequirements

EXAMINATION_SECONDS = 900.0
"""Seconds a node may take to prepare itself; the sample's images are built in it."""
REFRESH_SECONDS = 5.0
"""Seconds between two looks at which nodes are in the cluster."""
UNFIT_SECONDS = 60.0
"""Seconds until an unfit node is examined again: its Docker Engine may have been restarted, its disk cleared."""


@dataclass
class _Node:
    """What is known of a node."""

    name: str
    cpus: float
    fit: bool = False
    examining: bool = False
    examined: float = -UNFIT_SECONDS
    """When it was examined last, on the monotonic clock."""
    swept: bool = False
    """What a killed run left there has been removed; containers of the run are this start's own."""
    reason: str = ""
    """Why it is unfit, as the user was last told."""
    cells: int = 0
    """Cells at work there."""


class Nodes:
    """The cluster's nodes, how many cells are at work on each, and which images it has."""

    def __init__(
        self,
        requirements: NodeRequirements,
        cpus: float,
        say: Callable[[str], None],
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            requirements: what every node must have.
            cpus: what a cell occupies at most; a node with fewer takes none.
            say: takes a line for the user.
            give_up: asked while waiting for nodes.
        """
        self.requirements = requirements
        self.cpus = cpus
        self.say = say
        self.give_up = give_up
        self._examine_task = ray.remote(num_cpus=0, max_retries=0)(ray_node.examine)
        self._nodes: dict[str, _Node] = {}
        self._images: dict[str, str] = {}
        """Image → the node that took it first."""
        self._refreshed = -REFRESH_SECONDS
        self._changed = threading.Condition()

    def refresh(self) -> int:
        """Look for nodes that joined or left, wait until the new ones are examined, and return how many are fit."""
        with self._changed:
            self._refresh_nodes()
            while any(node.examining for node in self._nodes.values()) and not self.give_up():
                self._changed.wait(1)
            return sum(node.fit for node in self._nodes.values())

    @contextmanager
    def reserve(self, image: str) -> Iterator[tuple[str, NodeAffinitySchedulingStrategy]]:
        """A node for a cell: the one that has its image, unless its cells outnumber another's by more than its CPUs.

        Raises:
            NodeLostError: no node is fit.
        """
        with self._changed:
            node = self._choose(image)
            self._images[image] = node
            self._nodes[node].cells += 1
        try:
            yield node, NodeAffinitySchedulingStrategy(node, soft=False)
        finally:
            with self._changed:
                self._nodes[node].cells -= 1

    def exclude(self, node: str, reason: str) -> None:
        """The node gets no further cells until it has been found fit again."""
        with self._changed:
            self._mark_unfit(self._nodes[node], reason)

    def suspect(self, node: str) -> None:
        """A cell's task was lost there: the node gets no other before it has been examined again."""
        with self._changed:
            known = self._nodes[node]
            if known.fit:
                self._mark_unfit(known, "it lost a cell's task; it is examined again, if it is still there")
                known.examined = -UNFIT_SECONDS

    def wait(self, patience: float) -> bool:
        """Whether a node is fit, now or within `patience` seconds."""
        until = time.monotonic() + patience
        while not self.refresh():
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
            sweep.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
                self.requirements.label
            )
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
            if time.monotonic() - self._refreshed >= REFRESH_SECONDS:
                self._refresh_nodes()
            fit = {name: node for name, node in self._nodes.items() if node.fit}
            if fit:
                break
            if not any(node.examining for node in self._nodes.values()):
                raise NodeLostError("no node of the cluster can work: see why above, or add one")
            self._changed.wait(1)
        idlest = min(fit, key=lambda name: (fit[name].cells / fit[name].cpus, fit[name].name))
        has_image = self._images.get(image, idlest)
        if has_image in fit and fit[has_image].cells <= fit[idlest].cells + max(1, fit[has_image].cpus):
            return has_image
        return idlest

    def _refresh_nodes(self) -> None:
        """Examine new nodes in threads of their own: a node that hangs must not hold up the others' cells."""
        self._refreshed = time.monotonic()
        alive = _alive()
        for name, node in self._nodes.items():
            if node.fit and name not in alive:
                node.fit = False
                self.say(f"node {node.name} is gone")
        for name, state in alive.items():
            cpus = float(state["Resources"].get("CPU", 0))
            node = self._nodes.setdefault(name, _Node(f"{state['NodeManagerAddress']}/{name[:8]}", cpus))
            if node.fit or node.examining or self._refreshed - node.examined < UNFIT_SECONDS:
                continue
            node.examined = self._refreshed
            if cpus < self.cpus:
                if cpus > 0:  # a node with none was meant to take no cells
                    self._mark_unfit(node, f"a cell needs {self.cpus:g} CPUs, it has {cpus:g}")
                continue
            node.examining = True
            requirements = replace(self.requirements, label="") if node.swept else self.requirements
            node.swept = True
            threading.Thread(target=self._examine_node, args=(name, node, requirements), daemon=True).start()

    def _examine_node(self, name: str, node: _Node, requirements: NodeRequirements) -> None:
        strategy = NodeAffinitySchedulingStrategy(name, soft=False)
        try:
            job = self._examine_task.options(scheduling_strategy=strategy).remote(requirements, ray_node.versions())
            reason = ray.get(job, timeout=EXAMINATION_SECONDS)
        except RayError as error:
            reason = f"it could not be examined ({_line(error)})"
        with self._changed:
            node.examining = False
            node.examined = time.monotonic()
            if reason:
                self._mark_unfit(node, reason)
            else:
                node.fit, node.reason = True, ""
            self._changed.notify_all()

    def _mark_unfit(self, node: _Node, reason: str) -> None:
        node.fit = False
        if reason != node.reason:
            self.say(f"node {node.name} is left out: {reason}")
        node.reason = reason


def _alive() -> dict[str, dict[str, Any]]:
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
