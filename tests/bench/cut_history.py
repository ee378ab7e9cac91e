"""How long it takes to hide later history: once an image, for some 30,000 objects.

python tests/bench/cut_history.py
"""

from __future__ import annotations

import time

from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.third_party import prepare
from harness.sample.base_image import BASE_IMAGE

MAKE = r"""
mkdir -p /tmp/repo && cd /tmp/repo && git init -q -b main . && python3 - <<'PY' | git fast-import --quiet
import random
random.seed(0)
words = [str(n) * 6 for n in range(2000)]
for commit in range(5000):
    print(f"commit refs/heads/main\ncommitter t <t@example.invalid> {commit + 1} +0000\ndata 1\nx")
    for _ in range(2):
        text = "\n".join(random.choices(words, k=60))
        print(f"M 644 inline pkg{random.randrange(40)}/sub{random.randrange(20)}/f{random.randrange(10)}.py")
        print(f"data {len(text)}\n{text}")
PY
git branch later && git reset -q --hard main~1000 && git gc -q && git count-objects -v
"""


def main() -> None:
    prepare()
    config = ContainerConfig(image=BASE_IMAGE, cwd="/tmp/repo", timeout=600, hide_later_history=False)
    with Container(config) as container:
        print(container.execute({"command": MAKE}, cwd="/")["output"])
        for name in ("with later commits", "without"):
            started = time.monotonic()
            container._examine_history("hide")
            print(f"{name}: {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    main()
