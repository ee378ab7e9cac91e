"""A persistent job queue."""

from jobqueue.model import JobQueueError, Lease, LeaseLost, UnknownJob
from jobqueue.queue import JobQueue
from jobqueue.worker import Outcome, Worker

__all__ = ["JobQueue", "JobQueueError", "Lease", "LeaseLost", "Outcome", "UnknownJob", "Worker"]
