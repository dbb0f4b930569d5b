"""Opening and writing files: one error for what is broken, and nothing half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mdps._errors import BrokenFile

__all__ = ["lines_of", "require_size", "write_atomically"]


def require_size(path: Path, max_bytes: int) -> int:
    """Return the size of a file, refusing what is missing, not a file, or larger than `max_bytes`."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BrokenFile(path, f"cannot be read: {error.strerror}") from None
    if not path.is_file():
        raise BrokenFile(path, "is not a file")
    if size > max_bytes:
        raise BrokenFile(path, f"has {size} bytes; at most {max_bytes} are read (max_bytes)")
    return size


def lines_of(path: Path, max_bytes: int) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, without blank ones and comments (#)."""
    require_size(path, max_bytes)
    try:
        with path.open(encoding="ascii") as stream:
            for number, line in enumerate(stream, start=1):
                text = line.strip()
                if text and (text[0] != "#" or text in ("#DECLARATION", "#END")):
                    yield number, text
    except UnicodeDecodeError:
        raise BrokenFile(path, "is not a text file in ASCII") from None
    except OSError as error:
        raise BrokenFile(path, f"cannot be read: {error.strerror}") from None


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file through a temporary one beside it, so that a failure leaves nothing half-written."""
    with _beside(path) as stream:
        write(stream)


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:  # a device or a pipe must not be replaced
            yield stream
        return
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
