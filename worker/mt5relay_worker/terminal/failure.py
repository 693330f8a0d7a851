"""What went wrong on the terminal, in the words of the wire."""

from __future__ import annotations

from mt5relay_shared.errors import Mt5Code


def repaired(text: str) -> str:
    """Replace halves of surrogate pairs, which no encoding carries, by U+FFFD.

    The terminal cuts a text after so many UTF-16 units, be it in the middle of an emoji.

    >>> repaired("tp \\ud83d"), repaired("\\ud83d\\ude00")
    ('tp \ufffd', '\U0001f600')
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class TerminalError(Exception):
    """A call on the terminal failed. `code` is a wire error code."""

    def __init__(self, code: str, message: str, mt5: Mt5Code | None = None) -> None:
        self.code = code
        self.message = repaired(message)
        self.mt5 = mt5 and Mt5Code(mt5.code, repaired(mt5.text))
        super().__init__(self.message)


class ServerNameError(TerminalError):
    """The terminal is logged in to the account, but knows its server by another name."""

    def __init__(self, message: str) -> None:
        super().__init__("INVALID_STATE", message)


class IdentityError(TerminalError):
    """The terminal is logged in to somebody else; whatever was read is discarded."""

    def __init__(self, message: str) -> None:
        super().__init__("MT5_DATA_INVALID", message)


class NotReadyError(TerminalError):
    """The terminal answered neither with data nor with an error: it has not got there yet."""

    def __init__(self, message: str, mt5: Mt5Code | None = None) -> None:
        super().__init__("MT5_DATA_INVALID", message, mt5)
