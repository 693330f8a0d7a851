"""One request and its one reply, or the deadline."""

from __future__ import annotations

import asyncio

from mt5relay_gateway.batch import CommandBatch, answered_within
from mt5relay_gateway.inbox import Inbox
from mt5relay_gateway.submitter import Submitter
from mt5relay_shared.errors import DeadlineExceededError, MT5StateError
from mt5relay_shared.keys import Keys
from mt5relay_shared.messages import Reply, Request, decode_reply

LAST_LOOK_LIMIT = 0.5  # seconds past the deadline at most, for a reply that is stored by then


class Exchange:
    """Submits a request and waits until its deadline, by this process's own monotonic clock."""

    def __init__(self, batch: CommandBatch, inbox: Inbox, submitter: Submitter, keys: Keys) -> None:
        self._batch = batch
        self._inbox = inbox
        self._submitter = submitter
        self._keys = keys

    async def ask(self, request: Request, deadline: float) -> Reply:
        """Return the reply, which may be an error. `deadline` is by the event loop's clock.

        Cancelled or closed, it tells the worker that nobody waits here any more.

        Raises:
            DeadlineExceededError: there is none.
            MT5Error: the request was refused, or Redis can't be reached.
        """
        loop = asyncio.get_running_loop()
        reply = self._inbox.expect(request.id)
        limit = loop.call_at(deadline, _give_up, reply)
        try:
            self._submitter.start(request, deadline, reply)
            return decode_reply(await reply or b"")
        except TimeoutError:
            return await self._last_look(request)
        except (asyncio.CancelledError, MT5StateError):  # the caller has gone, or the client closes
            self._inbox.forget(request.id, reply)
            if not self._inbox.expects(request.id):  # another caller may share it
                self._submitter.withdraw(request)
            raise
        finally:
            limit.cancel()
            self._inbox.forget(request.id, reply)

    async def _last_look(self, request: Request) -> Reply:
        """The durable reply may be there although nobody told: a trimmed or lost stream entry."""
        async with answered_within(LAST_LOOK_LIMIT):
            body = await self._batch.call("GET", self._keys.reply(request.id))
        if body is None:
            raise DeadlineExceededError(
                f"{request.operation} of {request.account}: no answer within"
                f" {request.timeout_ms / 1000:g} s",
                request_id=request.id,
            )
        return decode_reply(body)


def _give_up(reply: asyncio.Future[bytes | None]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())
