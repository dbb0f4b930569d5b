"""The command `lemmata`: its verbs are found in the `commands` modules of `verify` and of the rooms of `certify`.

A `commands` module defines `register(root, certify)` and adds Typer commands to the two groups; it imports nothing heavy at its top,
so that `lemmata --help` answers at once.  Exit status: 0 as expected, 1 something is not, 2 bad input, 3 only inconclusive,
130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import typer

__all__ = ["build_app", "main"]

BAD_INPUT = 2
INTERRUPTED = 130


def _command_modules() -> Iterator[ModuleType]:
    """Yield every `commands` module: those of the two packages' rooms, in a fixed order, the core's own first."""
    yield importlib.import_module("verify.commands")
    for name in ("certify", "verify"):
        package = importlib.import_module(name)
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            folder = Path(package.__path__[0]) / info.name
            if info.ispkg and (folder / "commands.py").exists():
                yield importlib.import_module(f"{name}.{info.name}.commands")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"lemmata {metadata.version('lemmata')}")
        raise typer.Exit()


def build_app() -> typer.Typer:
    """Return the application with every verb registered."""
    root = typer.Typer(
        name="lemmata",
        help="Check the guarantees of reinforcement learning papers, certify your own policies and models, and draw both.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @root.callback()
    def options(
        version: bool = typer.Option(False, "--version", help="Print the version and leave.", callback=_print_version, is_eager=True),
    ) -> None:
        """Check the guarantees of reinforcement learning papers, certify your own policies and models, and draw both."""

    certify = typer.Typer(help="Compute certificates for your own policy, data or model.", no_args_is_help=True)
    for module in _command_modules():
        module.register(root, certify)
    root.add_typer(certify, name="certify")
    return root


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        The arguments after the program's name; those of the process when omitted.

    Raises
    ------
    SystemExit
        Always, with the exit status.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one BLAS thread: bytes must not depend on the machine's load
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = build_app()(args=words, prog_name="lemmata", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("LEMMATA_DEBUG"):
            raise
        _refuse(_told(error))
    except Exception as error:
        if not hasattr(error, "format_message"):  # the command line's own complaints, by whatever copy of Click they come from
            raise
        _refuse(_complaint(error, words))
    status = status if isinstance(status, int) else 0
    if status == INTERRUPTED:
        print("interrupted; finished parts are kept, run the same command to continue", file=sys.stderr)
    sys.exit(status)


def _refuse(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(BAD_INPUT)


def _told(error: Exception) -> str:
    """Return the message of an error, with the file for one of the system's."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename} cannot be read or written: {error.strerror}"
    return str(error)


def _complaint(error: Any, words: Sequence[str]) -> str:
    """Return what is wrong with the arguments, with the value that was given; a command without its verb prints its help instead."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message(), file=sys.stderr)
        sys.exit(BAD_INPUT)
    names = (*getattr(error.param, "opts", ()), *getattr(error.param, "secondary_opts", ())) if getattr(error, "param", None) else ()
    pairs = zip(words, [*words[1:], ""], strict=True)
    given = [value for name, value in pairs if name in names] + [word.split("=", 1)[1] for word in words if word.split("=", 1)[0] in names and "=" in word]
    return str(error.format_message()).rstrip(".") + (f", got {given[-1]!r}" if given and "value" in str(error.format_message()) else "")
