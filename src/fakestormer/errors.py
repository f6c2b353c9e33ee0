"""What a user can have done wrong, as exceptions that carry one clear sentence.

The command line prints the sentence and exits with `exit_code`; everything else that escapes is a
bug of ours and keeps its traceback.
"""

from __future__ import annotations


class InputError(ValueError):
    """One input cannot be used: names the file, what is wrong and what to do."""

    exit_code = 3


class NoFaceError(InputError):
    """The video decodes, but no face can be followed in it for long enough."""

    exit_code = 4


class SetupError(RuntimeError):
    """Something that has to be there is not: says the command that brings it."""

    exit_code = 5
