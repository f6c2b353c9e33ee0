"""The command line: thin, every heavy import inside the command that needs it.

Exit codes: 0 all done; 2 the command was called wrongly; 3 some inputs could not be used (the
others are done); 4 none could; 5 something has to be set up first (the message says how);
6 training stopped because its numbers were no longer finite; 7 a file got a verdict that --fail-on
names; 130 interrupted (finished work is
kept).
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Importing a module of commands adds them to the application, in this order.
from fakestormer.cli import (  # isort: skip  # noqa: F401
    models, data, training, judging, serving, evaluating, shipping,
)  # fmt: skip
from fakestormer.cli.options import ExitCode, app, say
from fakestormer.cli.output import Unbroken, make_unbroken

__all__ = ["ExitCode", "app", "main"]


#: What the extra `torch` brings: detection on the CPU does without.
_OF_TORCH = ("torch", "safetensors")
#: Errors of a full disk or quota.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Errors of a path that a user gave, wherever they are raised.
_OF_A_PATH = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR,
        errno.ELOOP, errno.EIO,
    }
)  # fmt: skip
_KEPT = "Interrupted; what was finished is kept."


@contextmanager
def _ctrl_c_stays_one() -> Iterator[None]:
    """An error that Ctrl-C caused becomes KeyboardInterrupt.

    A C library that is interrupted while it loads or reads raises something else: ImportError,
    ValueError.
    """
    pressed = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.default_int_handler(number, frame)

    ours = (
        threading.current_thread() is threading.main_thread()
        # else the caller ignores Ctrl-C or handles it
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _require_a_place() -> None:
    """Raise InputError where the working directory is gone: libraries end the process then."""
    from fakestormer.errors import InputError

    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise InputError(
            "the folder that this runs in has been deleted; change into another one"
        ) from error


def _start_up_fast() -> None:
    """Before torch is imported: leave out what costs processor time and brings nothing.

    Measured in benchmarks/start_up-2026-11-29.md. Workers inherit the environment.
    """
    # Threads of OpenMP that wait for work sleep: they would keep a core busy meanwhile.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # So do those of NumPy's OpenBLAS, after 2 to the power of so many cycles.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    # Imports make many objects that stay; looking through them for garbage finds none, neither
    # now nor when the process ends.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)


def main() -> None:
    """The `fakestormer` command: user errors become one sentence and a documented exit code."""
    from fakestormer.errors import InputError, SetupError, TrainingError
    from fakestormer.parallel.memory import keep_freed_memory

    make_unbroken()
    _start_up_fast()
    keep_freed_memory()
    try:
        try:
            _require_a_place()
            with _ctrl_c_stays_one():
                app()
        except SystemExit as ended:
            # Typer handles Ctrl-C itself, without a message.
            if ended.code == ExitCode.INTERRUPTED:
                say(_KEPT)
            raise
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # so that an error of printing is raised here
    except InputError as error:
        say(str(error))
        sys.exit(ExitCode.ALL_FAILED)
    except TrainingError as error:
        say(str(error))
        sys.exit(ExitCode.TRAINING_FAILED)
    except SetupError as error:
        say(str(error))
        sys.exit(ExitCode.SETUP_NEEDED)
    except ModuleNotFoundError as error:
        if error.name not in _OF_TORCH:
            raise
        say(f"this command needs {error.name}: install it with `pip install 'fakestormer[torch]'`")
        sys.exit(ExitCode.SETUP_NEEDED)
    except OSError as error:
        if error.errno in _OF_A_PATH and error.filename:
            path = os.fsdecode(error.filename)
            say(f"{path}: cannot be used ({error.strerror}); check the path and its rights")
            sys.exit(ExitCode.ALL_FAILED)
        if error.errno not in _NO_ROOM:
            raise
        file = "output" if error.filename is None else os.fsdecode(error.filename)
        file = file.removeprefix("file:")  # as FFmpeg gets it
        say(f"{file}: cannot be written ({error.strerror}); make room")
        if isinstance(sys.stdout, Unbroken):  # else the interpreter tries again when it ends
            sys.stdout.lead_nowhere()
        sys.exit(ExitCode.ALL_FAILED)
    except KeyboardInterrupt:
        say(_KEPT)
        sys.exit(ExitCode.INTERRUPTED)
