"""Which way imports point, and that `import fakestormer` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "fakestormer"

# The rooms from the bottom of the house to the top. A room imports itself and rooms that stand
# before it in this list. docs/decisions.md 53 says why some rooms stand where they do.
FLOORS = (
    "client", "types", "errors", "files", "parallel", "recipe", "video", "faces", "synthesis",
    "model", "runtimes", "drawing", "detection", "report", "data", "evaluation", "training",
    "tools", "server", "cli", "__main__",
)  # fmt: skip

# "fakestormer.video.decode": its file; a package stands for its __init__.py.
FILES = {
    ".".join(("fakestormer", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(SOURCE.rglob("*.py"))
}
LONGEST_FUNCTION, MOST_PARAMETERS = 60, 8
_COMMAND = "one parameter per option of the command"
_ROUTES = "the routes of one router, each a short function"
_DRAWING = "one drawing, in the order in which it is drawn"
# Functions that are larger, and why.
LARGE_FUNCTIONS = {
    "cli.data.prepare": _COMMAND,
    "cli.data.synthesize": _COMMAND,
    "cli.evaluating.ablate": _COMMAND,
    "cli.evaluating.evaluate": _COMMAND,
    "cli.judging.detect": _COMMAND,
    "cli.serving.serve": _COMMAND,
    "cli.training.train": _COMMAND,
    "data.prepare.prepare_listing": "Python's `prepare`: one keyword per option of the command",
    "detection.detector.Detector.detect": "the steps of a detection, in their order",
    "report.saliency_sheet.saliency_sheet": _DRAWING,
    "server.api.api_router": _ROUTES,
    "server.pages.pages_router": _ROUTES,
    "synthesis.params.sample": "every draw in the order that fixes the random numbers",
    "synthesis.render.render": "the steps of the synthesis, in the paper's order",
    "tools.commands.prepare": "Python's `prepare`: the steps of the command, in their order",
    "tools.synthesize.synthesize": "Python's `synthesize`: one keyword per option of the command",
}

# The package itself gives the public names, by functions, and stands on no floor.
MODULES = sorted(FILES.keys() - {"fakestormer"})


def room_of(module: str) -> str:
    return module.split(".")[1]


def imported_modules(source: str) -> Iterator[str]:
    """Modules of ours that a source imports, in functions and for type checks too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in FILES:
                    yield whole
                elif node.module in FILES:
                    yield node.module


def imports_of(module: str) -> set[str]:
    return set(imported_modules(FILES[module].read_text())) - {module}


def circle(modules: Iterable[str]) -> list[str]:
    """The modules of one circle of imports; [] where there is none."""
    try:
        TopologicalSorter({module: imports_of(module) for module in modules}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    room = room_of(module)
    assert room in FLOORS, f"{room} is a new room: give it a floor"
    below = FLOORS[: FLOORS.index(room) + 1]
    for imported in imports_of(module):
        assert imported != "fakestormer", f"{module} imports the public names; name their module"
        assert room_of(imported) in below, f"{module} must not import {imported}"


def test_no_file_imports_itself_in_a_circle() -> None:
    assert circle(MODULES) == []


def test_evaluation_reaches_a_network_only_through_detection() -> None:
    """It names the type of what detection computes with, and no more."""
    imported = {
        name for module in MODULES if room_of(module) == "evaluation" for name in imports_of(module)
    }
    assert "fakestormer.detection.prediction" in imported
    networks = {name for name in imported if room_of(name) in ("model", "runtimes")}
    assert networks <= {"fakestormer.runtimes.engine"}


def test_the_walk_sees_imports() -> None:
    inside = (
        "def f():\n    from fakestormer.video import decode, encode\n    import fakestormer.cli"
    )
    assert set(imported_modules(inside)) == {
        "fakestormer.video.decode", "fakestormer.video.encode", "fakestormer.cli"
    }  # fmt: skip
    typed = "if TYPE_CHECKING:\n    from fakestormer.types import Clip\n"
    assert list(imported_modules(typed)) == ["fakestormer.types"]
    assert "fakestormer.recipe.prediction" in imports_of("fakestormer.detection.prediction")


def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Name, lines and parameters (without self) of every function, in others and in classes too."""
    for child in ast.iter_child_nodes(node):
        name = f"{prefix}.{getattr(child, 'name', '')}".removesuffix(".")
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = child.args
            parameters = [a.arg for a in given.posonlyargs + given.args + given.kwonlyargs]
            count = len([p for p in parameters if p not in ("self", "cls")])
            yield name, (child.end_lineno or 0) - child.lineno + 1, count
        yield from functions(child, name)


def test_functions_fit_a_screen() -> None:
    large = {
        name
        for module in MODULES
        for name, lines, parameters in functions(ast.parse(FILES[module].read_text()), module)
        if lines > LONGEST_FUNCTION or parameters > MOST_PARAMETERS
    }
    known = {f"fakestormer.{name}" for name in LARGE_FUNCTIONS}
    assert large - known == set(), "cut them, or give a reason in LARGE_FUNCTIONS"
    assert known - large == set(), "no longer large: take them out of LARGE_FUNCTIONS"


def test_files_are_short() -> None:
    assert [name for name in MODULES if len(FILES[name].read_text().splitlines()) > 400] == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, fakestormer, fakestormer.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_recipes_are_read_without_torch() -> None:
    code = "import sys, fakestormer.recipe.named; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
