"""One client of the pipe: what is answered to its requests, and when."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import cast

from mt5relay_worker.simulator.pipe.ahead import SilenceError
from mt5relay_worker.simulator.pipe.calls import answer_of, package_call
from mt5relay_worker.simulator.pipe.codec import (
    SUCCESS,
    ParametersError,
    Reply,
    Request,
    UnknownCommandError,
    decode_request,
    encode_data,
    encode_reply,
)
from mt5relay_worker.simulator.pipe.commands import COMMANDS, Code
from mt5relay_worker.simulator.pipe.errors import CodecError
from mt5relay_worker.simulator.pipe.terminal import PipeTerminal
from mt5relay_worker.simulator.surface import CallError, Constants

log = logging.getLogger(__name__)

WAIT, READY, REFUSED = 1, 2, 3  # what an authorization has come to, as the package reads it


@dataclass(frozen=True, slots=True)
class Send:
    """Write these bytes at once and as a whole, once it is `due` (seconds since 1970)."""

    frame: bytes
    due: float = -math.inf


@dataclass(frozen=True, slots=True)
class Silence:
    """Never answer."""


@dataclass(frozen=True, slots=True)
class Close:
    """Let go of the pipe without an answer."""


Reaction = Send | Silence | Close


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How an authorization ends: a code of the package, and when."""

    code: int
    at: float


class Session:
    """From the moment a client opens the pipe until it closes it."""

    def __init__(self, terminal: PipeTerminal) -> None:
        self._terminal = terminal
        self._outcome = _Outcome(Constants.RES_E_AUTH_FAILED, -math.inf)
        self.has_attached = False

    def __repr__(self) -> str:
        return f"<Session {'attached' if self.has_attached else 'not attached'}>"

    @property
    def is_cut_off(self) -> bool:
        """Whether the terminal that it was attached to is gone."""
        return self.has_attached and not self._terminal.is_alive

    def react(self, frame: bytes, now: float) -> Reaction:
        """Answer a frame that came at `now`, in seconds since 1970."""
        try:
            request = decode_request(frame)
        except UnknownCommandError as error:
            return _refuse(error.command, Constants.RES_E_UNSUPPORTED)
        except ParametersError as error:
            return _refuse(error.command, Constants.RES_E_INVALID_PARAMS)
        except CodecError:
            return Close()
        try:
            return self._react(request, now)
        except SilenceError:
            return Silence()
        except CallError as error:
            return self._send(request, error.code)
        except Exception:  # the top of a request: one that fails must not end the terminal
            log.exception("simulator.pipe_call_failed", extra={"command": request.command})
            return _refuse(request.command, Constants.RES_E_FAIL)

    def _react(self, request: Request, now: float) -> Reaction:
        match request.command:
            case Code.AUTHORIZATION:
                return self._tell(request, now)
            case Code.HELLO:
                return self._greet(request)
            case Code.LOGIN:
                return self._log_in(request)
            case _:
                if self.is_cut_off:
                    return Close()
                call = package_call(request, self._terminal.now)
                found, code = self._terminal.make(call)
                return self._send(request, SUCCESS, answer_of(request.command, found, code))

    def _send(self, request: Request, status: int, found: object = None) -> Send:
        """A terminal that is still busy with a login answers after it."""
        data = encode_data(COMMANDS[request.command].answer, found) if status >= 0 else b""
        frame = encode_reply(Reply(request.command, status, data))
        return Send(frame, self._terminal.busy_until)

    # -- attaching and logging in -------------------------------------------------------------

    def _greet(self, request: Request) -> Send:
        """The build goes out at once; whether the terminal can be used is asked afterwards."""
        done, code = self._terminal.attach()
        self._await(code)
        self.has_attached = bool(done)
        return _answer(request, self._terminal.build)

    def _log_in(self, request: Request) -> Reaction:
        if self.is_cut_off:
            return Close()
        if self.has_attached:  # else it is told why it could not attach
            login, password, server = cast("tuple[int, str, str]", request.parameters[1:])
            _, code = self._terminal.log_in(login, password, server)
            self._await(code)
        return _answer(request, None)

    def _await(self, code: int) -> None:
        never = self._terminal.never_ends
        self._outcome = _Outcome(code, math.inf if never else self._terminal.busy_until)

    def _tell(self, request: Request, now: float) -> Reaction:
        code = self._outcome.code
        if now < self._outcome.at:
            return _answer(request, WAIT)
        if code == Constants.RES_E_AUTH_FAILED:
            return _answer(request, REFUSED)
        if code < 0:
            return _refuse(request.command, code)
        return _answer(request, READY)  # also of a login that the terminal did not survive


def _answer(request: Request, found: object) -> Send:
    data = encode_data(COMMANDS[request.command].answer, found)
    return Send(encode_reply(Reply(request.command, SUCCESS, data)))


def _refuse(command: int, status: int) -> Send:
    return Send(encode_reply(Reply(command, status)))
