"""Writes docs/reference/commands.md from the commands themselves: `make reference`.

A test compares the committed page with `reference()`, so that the two cannot drift apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

from fakestormer.cli import app

PAGE = Path(__file__).with_name("reference") / "commands.md"
HEAD = """\
# Commands

<!-- Written by `make reference` from the commands themselves. Do not edit this page. -->

Every command and option, as `fakestormer COMMAND --help` prints them. The
[quickstart](../quickstart.md) shows how they work together and lists the exit codes.
"""


def reference() -> str:
    """The whole page, as Markdown."""
    group = get_command(app)
    sections = [HEAD, *_section("fakestormer", group)]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        sections += _section(f"fakestormer {name}", command)
    return "\n".join(sections).rstrip("\n") + "\n"


def _section(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    words = [_argument(p) for p in arguments]
    if hasattr(command, "commands"):
        words.append("COMMAND")
    yield f"## {name}\n"
    yield f"```\n{' '.join([name, *words, '[OPTIONS]'])}\n```\n"
    paragraphs = (command.help or "").split("\n\n")
    yield "\n\n".join(fill(_prose(part), 100, break_long_words=False) for part in paragraphs) + "\n"
    if arguments:
        yield "| argument | meaning |\n| --- | --- |"
        yield from (f"| `{_argument(p)}` | {_meaning(p)} |" for p in arguments)
        yield ""
    if options:
        yield "| option | meaning |\n| --- | --- |"
        yield from (f"| {_option(p)} | {_meaning(p)} |" for p in options)
        yield ""


def _argument(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()) + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _option(parameter: Any) -> str:
    value = "" if parameter.is_flag else f" {parameter.metavar or _value_name(parameter)}"
    names = [f"`{name}{value}`" for name in parameter.opts]
    return ", ".join(names + [f"`{name}`" for name in parameter.secondary_opts])


def _value_name(parameter: Any) -> str:
    """list[Path] -> "PATH"; Literal["last", "mean"] -> "last|mean", as a cell of a table has it."""
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return r"\|".join(get_args(kind))
    kind = (get_args(kind) or (kind,))[0]
    return {int: "INT", float: "NUMBER", str: "TEXT"}.get(kind, kind.__name__.upper())


def _meaning(parameter: Any) -> str:
    facts = []
    if parameter.required:
        facts.append("required")
    elif parameter.default not in (None, False, (), [], ""):
        facts.append(f"default `{parameter.default}`")
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is not None and high is not None:
        facts.append(f"{low} to {high}")
    elif low is not None or high is not None:
        facts.append(f"at least {low}" if high is None else f"at most {high}")
    if parameter.envvar:
        facts.append(f"environment variable `{parameter.envvar}`")
    text = _prose(parameter.help or "")
    return (f"{text} ({'; '.join(facts)})" if facts else text).strip()


def _prose(text: str) -> str:
    """One line, in which nothing is taken for Markdown but `code`."""
    line = " ".join(text.split())
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(
        part if part.startswith("`") else re.sub(r"([\\*_<>|\[\]])", r"\\\1", part)
        for part in parts
    )


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"wrote {PAGE}")
