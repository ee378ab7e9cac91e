from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path):
    """Builds a directory from {relative path: text, or None for an empty directory}."""

    def build(name: str, content: dict[str, str | None]) -> Path:
        root = tmp_path / name
        root.mkdir()
        for relative, text in content.items():
            path = root / relative
            if text is None:
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return root

    return build


@pytest.fixture
def listing():
    """All paths below a directory, directories with a slash at the end."""

    def paths(root: Path) -> list[str]:
        return sorted(p.relative_to(root).as_posix() + ("/" if p.is_dir() else "") for p in root.rglob("*"))

    return paths
