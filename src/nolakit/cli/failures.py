"""Errors as one readable message and an exit code that means something."""

from __future__ import annotations

from enum import IntEnum

from nolakit import errors


class ExitCode(IntEnum):
    """What a shell sees."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    BAD_INPUT = 3
    OTHER_BASE = 4
    OUTPUT_EXISTS = 5
    REFUSED_NOW = 6
    INTERRUPTED = 130


CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (errors.OutputExistsError, ExitCode.OUTPUT_EXISTS),
    (errors.BaseMismatchError, ExitCode.OTHER_BASE),
    (errors.DataError, ExitCode.BAD_INPUT),
    (errors.AdapterError, ExitCode.BAD_INPUT),
    (errors.ModelError, ExitCode.BAD_INPUT),
    (errors.DeviceError, ExitCode.BAD_INPUT),
    (errors.StoreBusyError, ExitCode.REFUSED_NOW),
    (errors.StoreFullError, ExitCode.REFUSED_NOW),
    (errors.PinnedError, ExitCode.REFUSED_NOW),
    (errors.StoreNameError, ExitCode.USAGE),
    (errors.StoreError, ExitCode.BAD_INPUT),
    (errors.NolakitError, ExitCode.USAGE),
)


def exit_code(error: BaseException) -> ExitCode:
    """The exit code of an error."""
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return next((code for kind, code in CODES if isinstance(error, kind)), ExitCode.UNEXPECTED)


def message(error: BaseException) -> str:
    """The error in one paragraph, for people."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; a training that saved a checkpoint goes on with --resume"
    if isinstance(error, errors.NolakitError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}\nRun `nolakit --debug ...` to see where"
