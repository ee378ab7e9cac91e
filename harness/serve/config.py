"""Settings of the endpoint."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServeConfig(BaseModel):
    """How the endpoint protects itself; what it routes to is the checkpoint's and the pool's business."""

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
    client_timeout_seconds: float = Field(default=30, gt=0)
    """A client that sends, or takes, nothing for so long is dropped."""
    call_timeout_seconds: float = Field(default=600, gt=0)
    """A model that says nothing for so long has failed, and the next best is asked."""
    remembered_conversations: int = Field(default=100_000, ge=1)
    """Conversations whose model is remembered; beyond that the longest unused ones are decided anew."""
