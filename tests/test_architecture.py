"""Which way imports point, and that `import fakestormer` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "fakestormer"

# The floors of the house, from the bottom to the top. A room may import rooms of a lower floor,
# and itself. docs/decisions.md says where they differ from the sketch, and why.
FLOORS = (
    ("types", "errors"), ("files",), ("parallel",), ("recipe",), ("video",), ("faces",),
    ("synthesis",), ("model",), ("runtimes",), ("drawing",), ("detection",), ("report",),
    ("data",), ("evaluation",), ("training",), ("tools",), ("server",), ("cli",), ("__main__",),
)  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}

# Files that have moved and are not yet split where the rooms meet.
NOT_YET = {
    "recipe/training.py",
    "recipe/recipe.py",
    "faces/clips.py",
    "runtimes/exported.py",
    "detection/prediction.py",
    "detection/detector.py",
    "detection/batch.py",
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of ours that a file imports anywhere, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "fakestormer":
                names = [f"fakestormer.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("fakestormer.")}
    return rooms


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE))
)
def test_imports_point_downwards(path: Path) -> None:
    room = room_of(path)
    if room == "__init__" or str(path.relative_to(SOURCE)) in NOT_YET:
        return
    assert room in LEVEL, f"{room} is a new room: give it a level"
    for imported in imported_rooms(path) - {room}:
        assert LEVEL[imported] < LEVEL[room], f"{path.name}: {room} must not import {imported}"


def test_the_walk_sees_imports() -> None:
    assert "types" in imported_rooms(SOURCE / "detection" / "prediction.py")


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, fakestormer, fakestormer.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
