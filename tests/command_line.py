"""The command, run in the process of a test."""

from __future__ import annotations

import sys

import pytest

from fakestormer.cli import main


def run(
    arguments: list[object], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["fakestormer", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capfd.readouterr()
    return int(stopped.value.code or 0), captured.out, captured.err
