"""The worker's private key: where it comes from, and how it is made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.sealing import generate_private_key, load_private_key, public_part
from mt5relay_worker.terminal.options import TerminalOptions


def read_private_key(options: TerminalOptions) -> X25519PrivateKey:
    """The key from `MT5_PRIVATE_KEY`, else from the file; called in the terminal process only.

    Raises:
        MT5ValidationError: there is none, it is no key, or others may read the file.
    """
    if options.private_key is not None:
        return load_private_key(options.private_key.encode())
    path = Path(options.private_key_file)
    if not path.is_file():
        raise MT5ValidationError(
            f"private key: no file {path}; make one with `mt5relay-worker keygen --out {path}`"
            " or set MT5_PRIVATE_KEY_FILE"
        )
    _refuse_if_others_may_read(path)
    return load_private_key(path.read_bytes())


def _refuse_if_others_may_read(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise MT5ValidationError(
            f"private key: others may read {path}; keep it to its owner with `chmod 600 {path}`"
        )


def write_private_key(path: Path) -> SealingKey:
    """Make a key pair; the private part goes to a new file that only its owner may read.

    On Windows the file inherits the folder's permissions: keep it in the user's profile.

    Raises:
        MT5ValidationError: the file exists. An old key opens what was sealed for it, so nothing
            here overwrites one.
    """
    pem = generate_private_key()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise MT5ValidationError(
            f"private key: {path} exists; credentials sealed for it would be lost,"
            " so choose another name"
        ) from None
    except OSError as error:
        raise MT5ValidationError(
            f"private key: {path} can't be written: {error.strerror}"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    return public_part(load_private_key(pem))
