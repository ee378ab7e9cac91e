"""What evidence on finished attempts a run gathers."""

from __future__ import annotations

from pydantic import Field

from agents.strict_model import StrictModel


class EvidenceConfig(StrictModel):
    """Evidence on finished attempts, gathered in fresh containers without the hidden tests. It changes no outcome."""

    writers: list[str] = []
    """Names of the pool's entries that write tests for every instance from its issue; their calls are paid."""
    step_limit: int = Field(default=40, ge=0)
    """Model calls until a test writer is stopped. 0 means no limit."""
    cost_limit: float = Field(default=0.5, ge=0)
    """USD after which a test writer is stopped (the call that passes it is still made). 0 means no limit."""
    tests_per_writer: int = Field(default=3, ge=1, le=50)
    """Tests of one writer that are used at most."""
    test_timeout: float = Field(default=120, gt=0)
    """Seconds after which a test is killed; it counts as not passed. An existing test file has the same time."""
    own_tests: bool = False
    """Collect the reproduction tests that attempts write and run each on the other attempts' patches."""
    existing_tests: bool = False
    """Run the repository's test files that mention the changed code most, before and after every patch."""
    judge: str | None = None
    """Name of the pool's entry that says of every newly failing existing test whether the issue changes its
    expectation; its calls are paid. None asks nobody."""
