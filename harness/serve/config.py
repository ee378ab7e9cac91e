"""Settings of the endpoint."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """How the endpoint listens and protects itself. What it routes to comes from the checkpoint and the pool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on. Anything but this machine's own needs a key."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""
    key_env: str = "POLYSWE_API_KEY"
    """Environment variable with the key that clients must present. Not set: no key, on this machine's address only."""
    max_in_flight: int = Field(default=256, ge=1)
    """Requests being answered at the same time; further ones get 429 and a Retry-After."""
    max_body_mb: float = Field(default=32, gt=0)
    """Largest request."""
    client_timeout_seconds: float = Field(default=60, gt=0)
    """A request must have arrived within this time; an idle connection is closed after it."""
    call_timeout_seconds: float = Field(default=600, gt=0)
    """A model that sends nothing for this long has failed, and the next best is asked."""
    retries: int = Field(default=1, ge=0)
    """How often a call that failed with a server error is repeated before the next best model is asked."""
    remembered_conversations: int = Field(default=100_000, ge=1)
    """Conversations whose model is remembered. Beyond that, those unused for longest are decided anew."""
