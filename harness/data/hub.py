"""The Hugging Face hub: found out once whether it answers, so that its libraries do not retry for a minute."""

from __future__ import annotations

import os
import ssl
import sys
from functools import cache
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

SECONDS = 5.0
"""How long the hub may take to answer."""


@cache
def hub_out_of_reach() -> str:
    """Why the hub cannot be used; empty where it can.

    Where it does not answer, `HF_HUB_OFFLINE` is set, with which its libraries read their caches and try nothing else.
    They read it when they are imported: call this before. Where it is set already, nothing is tried; 0 trusts the hub.
    """
    if (setting := os.environ.get("HF_HUB_OFFLINE")) is not None:
        return "HF_HUB_OFFLINE is set" if setting.upper() in ("1", "ON", "YES", "TRUE") else ""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urlopen(Request(endpoint, method="HEAD"), timeout=SECONDS).close()
    except HTTPError:
        return ""  # an answer
    except (OSError, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, ssl.SSLError):
            return ""  # it answers; which certificates to trust is a matter of the libraries' settings
    else:
        return ""
    if "huggingface_hub" not in sys.modules:
        os.environ["HF_HUB_OFFLINE"] = "1"
    return f"{endpoint} does not answer"
