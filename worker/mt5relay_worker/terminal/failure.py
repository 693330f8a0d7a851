"""What went wrong on the terminal, in the words of the wire."""

from __future__ import annotations

from mt5relay_shared.errors import Mt5Code


class TerminalError(Exception):
    """A call on the terminal failed. `code` is a wire error code."""

    def __init__(self, code: str, message: str, mt5: Mt5Code | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.mt5 = mt5


class IdentityError(TerminalError):
    """The terminal is logged in to somebody else; whatever was read is discarded."""

    def __init__(self, message: str) -> None:
        super().__init__("MT5_DATA_INVALID", message)


class NotReadyError(TerminalError):
    """The terminal answered neither with data nor with an error: it has not got there yet."""

    def __init__(self, message: str, mt5: Mt5Code | None = None) -> None:
        super().__init__("MT5_DATA_INVALID", message, mt5)
