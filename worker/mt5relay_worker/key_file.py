"""The file of the worker's private keys: how it is read, made, and changed as a whole.

It holds PEM blocks one after the other: the first is the key that credentials are sealed to, those
after it open what was sealed before, or what will be: a line `# next key` stands before the latter.
Each change replaces the file in one step, so a process that is killed leaves the one or the other.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import (
    generate_private_key,
    load_private_key,
    load_private_keys,
    private_pem,
    public_part,
)
from mt5relay_worker.key_file_guard import create_owner_only, require_owner_only
from mt5relay_worker.key_ring import KeyRing
from mt5relay_worker.terminal.options import TerminalOptions

_NEXT = b"# next key\n"
_REPLACE_LIMIT = 5.0  # seconds; Windows refuses while somebody reads the file


def read_private_keys(options: TerminalOptions) -> KeyRing:
    """The keys from `MT5_PRIVATE_KEY`, else from the file; in the terminal process, and where a
    person changes them.

    Raises:
        MT5ValidationError: there is none, it is no key, or others may read the file.
    """
    if options.private_key is not None:
        return KeyRing(load_private_keys(options.private_key.encode()))
    return read_key_file(Path(options.private_key_file)).ring


def read_key_file(path: Path) -> KeyFile:
    """The keys of a file.

    Raises:
        MT5ValidationError: there is none, it is no key, or others may read it.
    """
    if not path.is_file():
        raise MT5ValidationError(
            f"private key: no file {path}; make one with `mt5relay-worker keygen --out {path}`"
            " or set MT5_PRIVATE_KEY_FILE"
        )
    try:
        require_owner_only(path)
        pem = path.read_bytes()
    except OSError as error:
        raise MT5ValidationError(
            f"private key: {path} can't be read ({error.strerror}): run this as the user that owns"
            " it, which should be the worker's"
        ) from None
    return parse_key_file(pem.replace(b"\r\n", b"\n"))


def write_private_key(path: Path) -> SealingKey:
    """Make a key pair; the private part goes to a new file that only its owner may read.

    Raises:
        MT5ValidationError: the file exists. An old key opens what was sealed for it, so nothing
            here overwrites one.
    """
    pem = generate_private_key()
    try:
        create_owner_only(path, pem)
    except FileExistsError:
        raise MT5ValidationError(
            f"private key: {path} exists; credentials sealed for it would be lost,"
            " so choose another name, or change the key with `mt5relay-worker rotate-key`"
        ) from None
    except OSError as error:
        raise MT5ValidationError(
            f"private key: {path} can't be written: {error.strerror}"
        ) from None
    return public_part(load_private_key(pem))


@dataclass(frozen=True)
class KeyFile:
    """What the file holds. `next` is there between the first and the second step of a change, and
    `old` from the second to the last."""

    current: X25519PrivateKey
    next: X25519PrivateKey | None = None
    old: tuple[X25519PrivateKey, ...] = ()

    @property
    def ring(self) -> KeyRing:
        return KeyRing([self.current, *([self.next] if self.next else []), *self.old])

    def prepared(self) -> KeyFile:
        """A next key is there; nothing is sealed to it yet."""
        if self.next is not None or self.old:
            return self
        return replace(self, next=load_private_key(generate_private_key()))

    def changed(self) -> KeyFile:
        """The next key is the current one, and the old one still opens."""
        prepared = self.prepared()
        if prepared.next is None:
            return prepared
        return KeyFile(prepared.next, None, (prepared.current, *prepared.old))

    def retired(self) -> KeyFile:
        """The current key alone."""
        return KeyFile(self.current, self.next)

    def as_pem(self) -> bytes:
        following = [] if self.next is None else [_NEXT + private_pem(self.next)]
        return b"".join([private_pem(self.current), *following, *map(private_pem, self.old)])


def parse_key_file(pem: bytes) -> KeyFile:
    """Read what `as_pem` wrote, or PEM blocks that a person put together.

    Raises:
        MT5ValidationError: as `load_private_keys`.
    """
    before, is_prepared, after = pem.partition(_NEXT)
    if not is_prepared:
        current, *old = load_private_keys(pem)
        return KeyFile(current, None, tuple(old))
    current, *earlier = load_private_keys(before)
    following, *old = load_private_keys(after)
    return KeyFile(current, following, (*earlier, *old))


def replace_key_file(path: Path, content: KeyFile) -> None:
    """Replace the file in one step.

    Raises:
        MT5ValidationError: it can't be written; it is as it was.
    """
    try:
        replace_owner_only(path, content.as_pem())
    except OSError as error:
        raise MT5ValidationError(
            f"private key: {path} can't be replaced ({error.strerror}): write to its folder, or"
            " change the keys where they come from"
        ) from None


def replace_owner_only(path: Path, content: bytes) -> None:
    """Write a file anew, in one step, readable by its owner only.

    Raises:
        OSError: it is as it was.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    create_owner_only(beside, content)
    try:
        _patiently(lambda: os.replace(beside, path))
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def sweep(path: Path) -> None:
    """Remove what a process left beside the file that was killed while it replaced it."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.????????.new"):
        with contextlib.suppress(OSError):
            left.unlink()


def _patiently(step: Callable[[], None]) -> None:
    give_up = time.monotonic() + _REPLACE_LIMIT
    while True:
        try:
            return step()
        except PermissionError:
            if os.name != "nt" or time.monotonic() > give_up:
                raise
            time.sleep(0.05)
