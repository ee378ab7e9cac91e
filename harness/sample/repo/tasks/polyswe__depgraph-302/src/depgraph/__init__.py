from depgraph.errors import CycleError, DepgraphError, FormatError
from depgraph.graph import Graph
from depgraph.loader import dump, load
from depgraph.schedule import batches, order

__all__ = ["CycleError", "DepgraphError", "FormatError", "Graph", "batches", "dump", "load", "order"]
