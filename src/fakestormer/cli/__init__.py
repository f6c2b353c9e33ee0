"""The command line: thin, every heavy import inside the command that needs it.

Exit codes: 0 all done; 2 the command was called wrongly; 3 some inputs could not be used (the
others are done); 4 none could; 5 something has to be set up first (the message says how);
6 training stopped because its numbers were no longer finite; 130 interrupted (finished work is
kept).
"""

from __future__ import annotations

import sys

# Importing a module of commands adds them to the application, in this order.
from fakestormer.cli import (  # isort: skip  # noqa: F401
    models, data, training, judging, serving, evaluating, shipping,
)  # fmt: skip
from fakestormer.cli.options import ExitCode, app, say

__all__ = ["ExitCode", "app", "main"]


def main() -> None:
    """The `fakestormer` command: user errors become one sentence and a documented exit code."""
    from fakestormer.errors import InputError, SetupError, TrainingError

    try:
        app()
    except InputError as error:
        say(str(error))
        sys.exit(ExitCode.ALL_FAILED)
    except TrainingError as error:
        say(str(error))
        sys.exit(ExitCode.TRAINING_FAILED)
    except SetupError as error:
        say(str(error))
        sys.exit(ExitCode.SETUP_NEEDED)
    except KeyboardInterrupt:
        say("Interrupted; what was finished is kept.")
        sys.exit(ExitCode.INTERRUPTED)
