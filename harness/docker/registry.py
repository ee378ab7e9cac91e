"""How large an image is, by its registry's own manifest, without pulling it."""

from __future__ import annotations

import re
from typing import Any

from agents.third_party import is_loopback

MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
TIMEOUT = 15


def layer_sizes(image: str) -> dict[str, int]:
    """Digest → compressed bytes of the layers of an image (of linux/amd64); empty where the registry does not say.

    Asks without credentials, as anyone may for public images.
    """
    import requests

    host, repository, tag = split_name(image)
    base = f"{'http' if is_loopback(f'http://{host}') else 'https'}://{host}/v2/{repository}"
    try:
        with requests.Session() as session:
            session.headers["Accept"] = ", ".join(MANIFESTS)
            manifest = _manifest(session, base, tag)
            if "manifests" in manifest:
                here = {"os": "linux", "architecture": "amd64"}
                of_platform = [m for m in manifest["manifests"] if here.items() <= m.get("platform", {}).items()]
                manifest = _manifest(session, base, of_platform[0]["digest"]) if of_platform else {}
            return {layer["digest"]: int(layer["size"]) for layer in manifest.get("layers", [])}
    except (requests.RequestException, ValueError, KeyError, TypeError):
        return {}


def split_name(image: str) -> tuple[str, str, str]:
    """Registry's host, repository, and tag or digest of an image's name."""
    from docker.auth import resolve_repository_name
    from docker.utils import parse_repository_tag

    name, tag = parse_repository_tag(image)
    host, repository = resolve_repository_name(name)
    if host == "docker.io":
        host, repository = "registry-1.docker.io", repository if "/" in repository else f"library/{repository}"
    return host, repository, tag or "latest"


def _manifest(session: Any, base: str, reference: str) -> dict[str, Any]:
    url = f"{base}/manifests/{reference}"
    reply = session.get(url, timeout=TIMEOUT)
    if reply.status_code == 401:  # public images, too, are given to holders of an anonymous token only
        asked = dict(re.findall(r'(\w+)="([^"]*)"', reply.headers.get("WWW-Authenticate", "")))
        token = session.get(
            asked.pop("realm"), params={k: asked[k] for k in ("service", "scope") if k in asked}, timeout=TIMEOUT
        ).json()
        session.headers["Authorization"] = f"Bearer {token.get('token') or token['access_token']}"
        reply = session.get(url, timeout=TIMEOUT)
    reply.raise_for_status()
    found: dict[str, Any] = reply.json()
    return found
