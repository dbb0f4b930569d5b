"""Read zip archives and PyTorch state dicts from files that nobody vouches for, without running anything they contain.

A state dict is a zip of raw storages and a pickle that says which storage is which tensor.  The pickle is *interpreted* here, not
unpickled: a stack machine knows the few opcodes that such a file needs, and a name in it is a string that three constructors give
a meaning to.  Nothing is imported, every size is checked before memory is taken.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMIT_FILE", "LIMIT_MEMBER", "Archive", "pickled_names", "read_state_dict"]

LIMIT_FILE = 256 << 20
"""Largest file that is opened, bytes."""

LIMIT_MEMBER = 48 << 20
"""Largest total that is unpacked from one archive, bytes."""

_LIMIT_ENTRIES = 4096
_LIMIT_PICKLE = 4 << 20
_LIMIT_OPCODES = 400_000
_LIMIT_RATIO = 200

_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_CONSTRUCTORS = {("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_parameter")}


class Archive:
    """The members of a zip archive, each unpacked only within the limits.

    Parameters
    ----------
    source : Path or bytes
        The archive.
    label : str
        How messages call it.

    Raises
    ------
    ValueError
        If it is not a zip archive, or one whose directory is not plain.
    """

    def __init__(self, source: Path | bytes, label: str) -> None:
        self.label = label
        self._left = LIMIT_MEMBER
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
            members = self._zip.infolist()
        except OSError:
            raise
        except Exception as error:  # zipfile answers hostile directories with many kinds of exception
            raise ValueError(f"{label} is not a readable zip archive ({type(error).__name__})") from None
        if len(members) > _LIMIT_ENTRIES:
            raise ValueError(f"{label} has {len(members)} members; at most {_LIMIT_ENTRIES} are allowed")
        self.members = {member.filename: member for member in members}
        if len(self.members) != len(members):
            raise ValueError(f"{label} names a member twice")

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str, limit: int = LIMIT_MEMBER) -> bytes:
        """Return the bytes of one member, or raise ValueError when it is missing, packed strangely or too large."""
        if name not in self.members:
            raise ValueError(f"{self.label} has no member {name!r}")
        info = self.members[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise ValueError(f"member {name!r} of {self.label} is encrypted or packed by a method that is not allowed")
        limit = min(limit, self._left)
        if info.file_size > limit:
            raise ValueError(f"member {name!r} of {self.label} claims {info.file_size} bytes; at most {limit} are allowed")
        if info.file_size > (1 << 20) and info.file_size > _LIMIT_RATIO * max(info.compress_size, 1):
            raise ValueError(f"member {name!r} of {self.label} unpacks to more than {_LIMIT_RATIO} times its size")
        try:
            with self._zip.open(info) as stream:
                data = stream.read(info.file_size)
                complete = len(data) == info.file_size and not stream.read(1)
        except Exception as error:  # damaged streams raise zlib, struct, EOF and zipfile errors alike
            raise ValueError(f"member {name!r} of {self.label} is damaged ({type(error).__name__})") from None
        if not complete:
            raise ValueError(f"member {name!r} of {self.label} does not have the size it claims")
        self._left -= len(data)
        return data


def read_state_dict(data: bytes, label: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a PyTorch state dict saved as a zip of raw storages.

    Parameters
    ----------
    data : bytes
        The file.
    label : str
        How messages call it.

    Returns
    -------
    dict of array
        Each tensor by name; half precision and bfloat16 are widened to float32.

    Raises
    ------
    ValueError
        If the file is not such a zip, wants anything beyond the allowed constructors, or its sizes contradict each other.
    """
    archive = Archive(data, label)
    prefix = _prefix(archive)
    if f"{prefix}byteorder" in archive and archive.read(f"{prefix}byteorder", 64) != b"little":
        raise ValueError(f"{label} stores big-endian numbers, which are not supported")
    machine = _Machine(archive, prefix)
    result = machine.run(archive.read(f"{prefix}data.pkl", _LIMIT_PICKLE))
    if not isinstance(result, dict) or not all(isinstance(v, np.ndarray) for v in result.values()):
        raise ValueError(f"{label} is not a state dict: a mapping from names to tensors is expected")
    return result


def pickled_names(data: bytes, label: str) -> Iterator[tuple[str, str]]:
    """Yield every (module, name) that a pickle would import, by reading its opcodes only.

    Parameters
    ----------
    data : bytes
        The pickle.
    label : str
        How messages call it.

    Yields
    ------
    tuple of str
        Module and name.

    Raises
    ------
    ValueError
        If the bytes are not a pickle.
    """
    strings: list[str] = []
    memo: dict[int, str] = {}
    for name, argument in _opcodes(data, label):
        if name == "GLOBAL" or name == "INST":
            module, _, attribute = str(argument).partition(" ")
            yield module, attribute
        elif name == "STACK_GLOBAL":
            if len(strings) < 2:
                raise ValueError(f"{label} holds a pickle that imports a computed name")
            yield strings[-2], strings[-1]
        elif name in ("EXT1", "EXT2", "EXT4"):
            raise ValueError(f"{label} holds a pickle that uses an extension code")
        elif name in ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "SHORT_BINSTRING", "BINSTRING"):
            strings.append(str(argument))
        elif name == "MEMOIZE":
            memo[len(memo)] = strings[-1] if strings else ""
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(argument)] = strings[-1] if strings else ""
        elif name in ("BINGET", "LONG_BINGET", "GET") and int(argument) in memo:
            strings.append(memo[int(argument)])


def _opcodes(data: bytes, label: str) -> Iterator[tuple[str, Any]]:
    if len(data) > _LIMIT_PICKLE:
        raise ValueError(f"{label} holds a pickle of {len(data)} bytes; at most {_LIMIT_PICKLE} are allowed")
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > _LIMIT_OPCODES:
                raise ValueError("too many opcodes")
            yield opcode.name, argument
    except GeneratorExit:
        raise
    except Exception as error:  # truncated arguments, unknown opcodes, bad encodings
        raise ValueError(f"{label} holds a damaged or forbidden pickle: {str(error)[:100]}") from None


def _prefix(archive: Archive) -> str:
    pickles = [name for name in archive.members if name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)]
    if len(pickles) != 1:
        raise ValueError(f"{archive.label} is not a PyTorch file of the zip format (no data.pkl)")
    if any(name.endswith("/constants.pkl") for name in archive.members):
        raise ValueError(f"{archive.label} is a TorchScript program, which is code; pass trust=True to run it")
    return pickles[0].removesuffix("data.pkl")


class _Mark:
    """Where a list of arguments starts on the stack."""


class _Name(tuple[str, str]):
    """A (module, name) pair from the pickle: only a name, never an object."""


class _Machine:
    """The stack machine: literals, tuples, lists, dicts, and the three constructors of a state dict."""

    def __init__(self, archive: Archive, prefix: str) -> None:
        self.archive = archive
        self.prefix = prefix
        self.storages: dict[str, NDArray[Any]] = {}

    def run(self, data: bytes) -> Any:
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        try:
            for name, argument in _opcodes(data, self.archive.label):
                if name == "STOP":
                    return stack.pop()
                self._step(name, argument, stack, memo)
        except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{self.archive.label} holds a malformed pickle ({type(error).__name__})") from None
        raise ValueError(f"{self.archive.label} holds a pickle without an end")

    def _step(self, name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
        if name in ("PROTO", "FRAME"):
            return
        if name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"):
            stack.append(argument)
        elif name in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "MARK":
            stack.append(_Mark)
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            items = _since_mark(stack) if name == "TUPLE" else [stack.pop() for _ in range(int(name[-1]))][::-1]
            stack.append(tuple(items))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else _since_mark(stack)
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else _since_mark(stack)
            for key, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(key, str | int):  # hashing a nest of tuples can take exponential time
                    raise TypeError("key")
                stack[-1][key] = value
        elif name == "GLOBAL":
            stack.append(self._name(*str(argument).split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            stack.append(self._name(str(module), str(attribute)))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._reduce(function, arguments))
        elif name == "BUILD":
            stack.pop()  # the metadata of an ordered dict: versions of layers, not needed
        else:
            raise ValueError(f"{self.archive.label} holds a pickle with the opcode {name}, which a state dict does not need")

    def _name(self, module: str, attribute: str) -> _Name:
        if (module, attribute) in _CONSTRUCTORS or (module == "torch" and attribute in _STORAGES):
            return _Name((module, attribute))
        raise ValueError(f"{self.archive.label} holds a pickle that wants to import {module[:60]}.{attribute[:60]}; refused")

    def _storage(self, identifier: Any) -> NDArray[Any]:
        kind, storage, key, _, count = identifier
        if kind != "storage" or not isinstance(storage, _Name) or storage[0] != "torch" or not isinstance(key, str):
            raise TypeError("storage")
        if key not in self.storages:
            raw = self.archive.read(f"{self.prefix}data/{key}")
            code = _STORAGES[storage[1]]
            width = 2 if code == "bf16" else np.dtype(code).itemsize
            if not isinstance(count, int) or count * width != len(raw):
                raise ValueError(f"{self.archive.label} has a storage whose size is not the one it claims")
            if code == "bf16":
                values: NDArray[Any] = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                values = np.frombuffer(raw, code)
            self.storages[key] = values.astype(np.float32) if code == "<f2" else values
        return self.storages[key]

    def _reduce(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise TypeError("call")
        if function == ("collections", "OrderedDict"):
            if arguments:
                raise TypeError("OrderedDict")
            return {}
        if function == ("torch._utils", "_rebuild_parameter"):
            return arguments[0]
        if function == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor(*arguments[:4])
        raise TypeError("call")

    def _tensor(self, storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
        numbers = (offset, *shape, *strides)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or len(shape) != len(strides) or len(shape) > 8:
            raise TypeError("tensor")
        if not all(type(n) is int and 0 <= n <= storage.size for n in numbers):
            raise ValueError(f"{self.archive.label} has a tensor whose shape does not fit its storage")
        total, last = 1, offset
        for size, stride in zip(shape, strides, strict=True):
            total *= size
            last += (size - 1) * stride
        if total > storage.size or (total and last >= storage.size):
            raise ValueError(f"{self.archive.label} has a tensor whose shape does not fit its storage")
        if total == 0:
            return np.empty(shape, storage.dtype)
        step = storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(storage[offset:], shape, tuple(step * s for s in strides), writeable=False)
        return np.array(view)


def _since_mark(stack: list[Any]) -> list[Any]:
    start = len(stack) - 1
    while stack[start] is not _Mark:  # by identity: arrays do not compare
        start -= 1
        if start < 0:
            raise IndexError("mark")
    items = stack[start + 1 :]
    del stack[start:]
    return items
