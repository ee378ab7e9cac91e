"""`python -m agents.scripted --playbook DIR --port N`: serve the scripted stand-ins until interrupted."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from agents.errors import PlaybookError
from agents.scripted.server import ScriptedServer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m agents.scripted", description="Serve scripted stand-in models.")
    parser.add_argument("--playbook", type=Path, required=True, help="folder of <instance_id>.yaml files")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds each call takes")
    options = parser.parse_args()
    try:
        server = ScriptedServer(options.playbook, delay=options.delay, port=options.port)
    except PlaybookError as error:
        print(error, file=sys.stderr)
        return 2
    with server:
        print(f"scripted stand-ins {', '.join(server.models)} at {server.url} (interrupt to stop)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
