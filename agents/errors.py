"""What can go wrong around an agent and is not the model's fault. A message is one line: the cause, and what to do."""

from __future__ import annotations

from agents.attempt import Attempt


class AgentError(Exception):
    """Base of everything this package raises on purpose."""

    attempt: Attempt | None = None
    """What had been done and paid by then (exit status = the error's class name), if the attempt had begun."""


class PoolError(AgentError):
    """The model pool cannot be used as configured; the message lists every problem at once."""


class MissingKeyError(PoolError):
    """An environment variable that should hold an API key is not set."""


class PriceUnknownError(PoolError):
    """A model's price is neither in its entry nor in LiteLLM's table, so its cost limit would do nothing."""


class ContainerError(AgentError):
    """The agent's container could not be started, was ended from outside, or the engine does not answer."""


class DiskLimitError(AgentError):
    """The agent wrote more than its container may hold: the model's failure, of which the loop makes an exit status."""


class ContainerEndedError(AgentError):
    """The agent ended its own container for good: the model's failure, of which the loop makes an exit status."""


class PlaybookError(AgentError):
    """A scripted stand-in's playbook is not well-formed."""


class AgentFaultError(AgentError):
    """Something nobody foresaw broke the attempt off; the message names its type, `__cause__` is the error itself.

    The message is free of keys; the cause's own text need not be.
    """


class ProviderError(AgentError):
    """A model call that failed for good: refused outright, or still failing after all retries.

    Never the model's failure: an instance that ends so has no outcome and may be run again.
    (The exceptions are the kinds `context-window` and `content-policy`, which the runner turns into an exit status.)
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)  # both in args, so that the error survives pickling between processes
        self.kind = kind
        """One of the kinds of `agents.provider_errors.KINDS`."""
        self.message = message
        """One line, free of keys."""
        self.transient = False
        """Whether another try may help."""
        self.retry_after: float | None = None
        """Seconds the provider asked to wait, if it did."""
        self.billed = False
        """Whether the provider answered with a reply that is paid and cannot be used."""

    def __str__(self) -> str:
        return self.message
