"""Standard output and standard error that never cost a result.

A terminal may not know a letter, and who read the output may have gone (`| head`). Neither is a
reason to stop a run: letters are spelled out, and what nobody reads is dropped. A full disk still
is one (`cli/__init__.py`).
"""

from __future__ import annotations

import io
import os
import sys


class Unbroken(io.TextIOWrapper):
    """A standard stream; from the moment on that nobody reads it, it leads nowhere."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self.lead_nowhere()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self.lead_nowhere()

    def lead_nowhere(self) -> None:
        """Drop what is written from here on, and what is still held back."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def make_unbroken() -> None:
    """Replace the standard streams, where they are the interpreter's own."""
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _unbroken(sys.stdout)
    if sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _unbroken(sys.stderr)


def _unbroken(stream: io.TextIOWrapper) -> Unbroken:
    stream.flush()
    return Unbroken(
        stream.buffer,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
