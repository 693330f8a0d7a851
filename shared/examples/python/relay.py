"""Ask mt5relay with redis-py and nothing of ours: `pip install redis`.

    python relay.py ask ACCOUNT OPERATION [ARGUMENTS [TIMEOUT_MS [ID]]]
    python relay.py snapshot ACCOUNT | health | events [COUNT]

REDIS_URL, MT5_TERMINAL_ID and MT5_KEY_PREFIX as everywhere. Prints JSON; the exit status is 0 for
an answer and 1 for an error. With Python, `mt5relay_gateway.AccountClient` does all this and more.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as TooSlow

# Copy submit.lua beside your program, from the release that your worker runs.
SUBMIT = (Path(__file__).parents[2] / "mt5relay_shared/scripts/submit.lua").read_text("utf-8")
DIGEST = hashlib.sha1(SUBMIT.encode()).hexdigest()  # noqa: S324 - how Redis names scripts
QUEUE_LIMIT = 10_000  # requests that may wait; past them QUEUE_FULL
MARKER_OUTLIVES_MS = 60_000
GRACE = 1.0  # seconds past the deadline; the worker itself says DEADLINE_EXCEEDED
BLOCK = 1.0  # seconds that one read waits
PAUSE = 0.2  # seconds between tries while Redis is away


class RelayError(Exception):
    """A failure. `error` has `code`, `message`, `retryable`, `retry_after_ms`."""

    def __init__(self, code: str, message: str, retryable: bool, **more: object) -> None:
        super().__init__(f"{code}: {message}")
        self.error = {"code": code, "message": message, "retryable": retryable, **more}


class Relay:
    """For one thread; others make their own."""

    def __init__(self, url: str, terminal: str = "main", prefix: str = "mt5") -> None:
        options = {"socket_timeout": BLOCK + 2, "decode_responses": True, "protocol": 2}
        client: Any = Redis  # its types do not fit single commands
        self._redis = client.from_url(url, **options)
        self._tag = f"{{{prefix}:{terminal}}}"
        self._name = f"py-{uuid.uuid4().hex}"
        self._stream = self._key("replies", self._name)

    def ask(
        self,
        account: str,
        operation: str,
        arguments: dict[str, Any] | None = None,
        timeout_ms: int = 10_000,
        request_id: str | None = None,
    ) -> dict[str, Any]:
        """The reply. Whatever breaks on the way, the same id is never executed twice.

        Raises:
            RelayError: refused, failed, or not answered in time.
        """
        give_up = time.monotonic() + timeout_ms / 1000 + GRACE
        request: dict[str, Any] = {
            "v": 1,
            "id": request_id or uuid.uuid4().hex,
            "account": account,
            "operation": operation,
            "arguments": arguments or {},
            "timeout_ms": timeout_ms,
            "reply_to": self._name,
        }
        while True:
            try:
                reply = self._answered(request, give_up)
                break
            except (Unreachable, TooSlow) as trouble:
                if time.monotonic() + PAUSE >= give_up:
                    raise RelayError("REDIS_UNAVAILABLE", str(trouble), True) from None
                time.sleep(PAUSE)  # then the same id again
            except RedisError as refusal:  # e.g. NOPERM, OOM
                raise RelayError("REDIS_UNAVAILABLE", str(refusal), True) from None
        if reply["status"] == "error":
            raise RelayError(**reply["error"])
        return reply

    def _answered(self, request: dict[str, Any], give_up: float) -> dict[str, Any]:
        timeout_ms = max(1, int((give_up - GRACE - time.monotonic()) * 1000))
        request = {**request, "timeout_ms": min(request["timeout_ms"], timeout_ms)}
        # One's own reply stream, before the request: the worker writes to it, but never makes it.
        cursor = self._redis.xadd(self._stream, {"hello": ""}, maxlen=1000)
        self._redis.pexpire(self._stream, timeout_ms + 60_000)
        match self._submitted(request):
            case ["stored", reply]:
                return read(reply)
            case ["accepted" | "attached", _]:
                return self._awaited(request["id"], cursor, give_up)
            case ["refused", code, wait_ms]:
                raise RelayError(code, "refused", True, retry_after_ms=wait_ms or None)
            case ["conflict"]:
                raise RelayError("VALIDATION_FAILED", "id: another question has it", False)
            case other:
                raise RelayError("INTERNAL", f"submit.lua said {other}", False)

    def _submitted(self, request: dict[str, Any]) -> list[Any]:
        names = [f"{self._tag}:{name}" for name in ("requests", "lease", "health", "queue")]
        keys = [*names, f"{self._tag}:shares", self._key("request", request["id"])]
        keys.append(self._key("reply", request["id"]))
        words = [self._stream, QUEUE_LIMIT, 0, MARKER_OUTLIVES_MS]
        words += [fingerprint(request), json.dumps(request), request["timeout_ms"]]
        words.append(request["account"])
        try:
            answers: list[list[Any]] = self._redis.evalsha(DIGEST, len(keys), *keys, *words)
        except NoScriptError:
            answers = self._redis.eval(SUBMIT, len(keys), *keys, *words)
        return answers[1]  # after the server's time: one answer for each request

    def _awaited(self, request_id: str, cursor: str, give_up: float) -> dict[str, Any]:
        while (left := give_up - time.monotonic()) > 0:
            found = self._redis.xread(
                {self._stream: cursor}, block=max(1, int(min(left, BLOCK) * 1000))
            )
            for _, entries in found or ():
                for entry, replies in entries:
                    cursor = entry
                    if request_id in replies:
                        return read(replies[request_id])
        if reply := self._redis.get(self._key("reply", request_id)):  # the durable one
            return read(reply)
        # Nobody waits any more: the worker may drop it, and no login is made for it.
        self._redis.hdel(self._key("request", request_id), f"to:{self._stream}")
        raise RelayError("DEADLINE_EXCEEDED", "no reply; ask again with the same id", True)

    def snapshot(self, account: str) -> dict[str, Any] | None:
        """The last good full read, None where there is none. It says how old it is: `as_of_ms`."""
        fields = ("as_of", "synchronized", "data")
        as_of, synchronized, data = self._redis.hmget(self._key("snapshot", account), *fields)
        if data is None:
            return None
        return {"as_of_ms": int(as_of), "synchronized": synchronized, "data": json.loads(data)}

    def health(self) -> dict[str, str]:
        """Empty: no worker lives. All values are text."""
        fields: dict[str, str] = self._redis.hgetall(f"{self._tag}:health")
        return fields

    def events(self, count: int = 10) -> list[dict[str, Any]]:
        """The newest ones, oldest first. To follow them: XREAD BLOCK from the last id."""
        entries = self._redis.xrevrange(f"{self._tag}:events", count=count)
        return [json.loads(fields["event"]) for _, fields in reversed(entries)]

    def close(self) -> None:
        self._redis.unlink(self._stream)
        self._redis.close()

    def _key(self, name: str, what: str) -> str:
        return f"{self._tag}:{name}:{what}"


def fingerprint(request: dict[str, Any]) -> str:
    """What is asked, whoever asks and until when: by it `submit` knows a repetition."""
    asked = [request["account"], request["operation"], request["arguments"]]
    body = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def read(reply: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(reply)
    return decoded


def say(found: object) -> None:
    sys.stdout.write(f"{json.dumps(found)}\n")


def main(words: list[str]) -> int:
    relay = Relay(
        os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0",
        os.environ.get("MT5_TERMINAL_ID") or "main",
        os.environ.get("MT5_KEY_PREFIX") or "mt5",
    )
    try:
        match words:
            case ["ask", account, operation, *more]:
                arguments, timeout_ms, request_id = [*more, *("{}", "10000", "")[len(more) :]]
                say(
                    relay.ask(
                        account,
                        operation,
                        json.loads(arguments),
                        int(timeout_ms),
                        request_id or None,
                    )
                )
            case ["snapshot", account]:
                say(relay.snapshot(account))
            case ["health"]:
                say(relay.health())
            case ["events", *count]:
                say(relay.events(*map(int, count)))
            case _:
                sys.exit(__doc__)
    except RelayError as failed:
        say({"status": "error", "error": failed.error})
        return 1
    finally:
        relay.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
