"""Visits: the loop that takes the oldest waiter's account to the terminal, riders included."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import anyio
import msgspec
from structlog.contextvars import bound_contextvars

from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import (
    AccountUnknownError,
    MT5AuthError,
    MT5CircuitBreakerOpen,
    MT5Error,
    MT5StateError,
    Outcome,
    error_for,
)
from mt5relay_shared.logs import get_logger
from mt5relay_shared.messages import encode
from mt5relay_shared.operations import SNAPSHOT_OPERATIONS, Operation
from mt5relay_worker.backlog import Backlog, Waiting
from mt5relay_worker.breaker import CircuitBreaker
from mt5relay_worker.connection_manager import (
    DEADLY,
    DeadlyReadError,
    MT5ConnectionManager,
    is_one_servers,
    is_terminals,
)
from mt5relay_worker.costs import Costs
from mt5relay_worker.credential_turns import Credential, CredentialRefusedError
from mt5relay_worker.delivery import Delivery, Finished, error_of
from mt5relay_worker.fallback import Fallback
from mt5relay_worker.governor import LoginGovernor
from mt5relay_worker.lockout import LOGIN, Cooling, Lockout
from mt5relay_worker.replies import Begun, Replies
from mt5relay_worker.schedule import Follow, Step, Visit, Wait, next_step
from mt5relay_worker.server_clock import ServerClock
from mt5relay_worker.server_pauses import ServerPauses
from mt5relay_worker.shadow_fifo import ShadowFifo
from mt5relay_worker.state import ConnectionStatus
from mt5relay_worker.terminal.protocol import Read, Visited

log = get_logger("visits")

NAMED_IN_LOGS = 10
FAIR_LIMIT = 5.0  # seconds that a login has in any case
FAIR_FACTOR = 3.0  # and so many times what it usually takes
UNTRUSTED = frozenset({"MT5_DATA_INVALID", "INTERNAL"})
UNTRUSTED_THRESHOLD = 3  # this many different accounts in a row make the terminal suspect
UNTRUSTED_VISITS = 3  # of one account in a row, after which its logins cool down
FAILED_THRESHOLD = 2  # accounts that failed in a row, where none is known to work
WITNESSES = 8  # accounts that worked last, which may clear the terminal of a suspicion
WITNESSES_HEARD = 2  # of them at one suspicion; each is a login
SNAPSHOT = "snapshot"  # the read of everything that answers how an account stands


@dataclass(slots=True)
class VisitTally:
    """Counters since the start, and when work last flowed (loop seconds)."""

    visits: int = 0
    logins_delayed: int = 0  # how often the governor held up who waited
    last_success_at: float = float("-inf")
    good: OrderedDict[AccountId, Credential] = field(
        default_factory=OrderedDict[AccountId, Credential]
    )
    untrusted_in_a_row: set[AccountId] = field(default_factory=set[AccountId])
    failed_in_a_row: set[AccountId] = field(default_factory=set[AccountId])
    untrusted_visits: Counter[AccountId] = field(default_factory=Counter[AccountId])

    def succeeded(self, credential: Credential, now: float) -> None:
        self.visits += 1
        self.last_success_at = now
        self.good[credential.account] = credential
        self.good.move_to_end(credential.account)
        if len(self.good) > WITNESSES:
            self.good.popitem(last=False)
        self.untrusted_visits.pop(credential.account, None)
        self.untrusted_in_a_row.clear()
        self.failed_in_a_row.clear()

    @property
    def last_good(self) -> Credential | None:
        """The credential that worked last."""
        return next(reversed(self.good.values()), None)

    def witness_besides(self, account: AccountId) -> Credential | None:
        """The account that worked last, of another server if there is one."""
        others = [one for one in reversed(self.good.values()) if one.account != account]
        elsewhere = (one for one in others if one.account.server != account.server)
        return next(elsewhere, others[0] if others else None)


class Visits:
    """Drives the terminal, one visit at a time.

    A visit's life: plan; begin (noted in Redis, credential fetched); login and reads in one
    message; outcome counted; riders collected; answers written, while the next visit is made. Where
    no login is expected, `begin` does not hold up the reads.
    """

    def __init__(
        self,
        *,
        backlog: Backlog,
        costs: Costs,
        shadow: ShadowFifo,
        manager: MT5ConnectionManager,
        status: ConnectionStatus,
        breaker: CircuitBreaker,
        lockout: Lockout,
        governor: LoginGovernor,
        replies: Replies,
        fallback: Fallback,
        delivery: Delivery,
        clock: ServerClock,
        is_stopping: Callable[[], bool],
        on_refused_credential: Callable[[AccountId, str], None] = lambda _account, _why: None,
    ) -> None:
        self.tally = VisitTally()
        self._backlog = backlog
        self._costs = costs
        self._shadow = shadow
        self._manager = manager
        self._status = status
        self._breaker = breaker
        self._lockout = lockout
        self._governor = governor
        self._replies = replies
        self._fallback = fallback
        self._delivery = delivery
        self._clock = clock
        self._is_stopping = is_stopping
        self._on_refused_credential = on_refused_credential
        self._wake = anyio.Event()
        self._tried_before: set[str] = set()
        self._refused_credentials: dict[AccountId, str] = {}
        self._server_pauses = ServerPauses()

    def wake(self) -> None:
        """Something arrived, or changed: look again."""
        self._wake.set()

    async def run(self) -> None:
        """Visit until the worker stops."""
        async with self._delivery.under_way():
            await self._keep_visiting()
        await self._replies.finish_visit([])  # nothing is on the terminal: to stop is no crash

    async def _keep_visiting(self) -> None:
        while not self._is_stopping():
            self._wake = anyio.Event()
            if not self._breaker.is_closed:
                await self._refuse_everybody()
                await self._wake.wait()
                continue
            match self._next_step():
                case Wait(until_ms):
                    await self._wait(until_ms)
                case Follow(account):
                    await self._follow(account)
                case Visit() as visit:
                    with bound_contextvars(account=str(visit.account), requests=_named(visit)):
                        await self._make(visit)

    def _next_step(self) -> Step:
        current, now_ms = self._status.current_account, self._clock.now_ms()
        return next_step(self._backlog, current, self._costs, now_ms, self._governor)

    async def _wait(self, until_ms: float | None) -> None:
        if until_ms is None:
            await self._wake.wait()
            return
        self.tally.logins_delayed += len(self._backlog) > 0
        with anyio.move_on_after((until_ms - self._clock.now_ms()) / 1000):
            await self._wake.wait()

    async def _refuse_everybody(self) -> None:
        """While the breaker is open nobody keeps a place in the line."""
        waiting = list(self._backlog)
        if waiting:
            retry_after = self._breaker.retry_after(anyio.current_time())
            error = MT5CircuitBreakerOpen(
                f"the terminal is down: {self._status.cause}", retry_after=retry_after
            )
            await self._fail(waiting, error)

    async def _follow(self, account: AccountId) -> None:
        """Nobody waits: be where the newest request went, as strict FIFO would be already."""
        self._backlog.newest_account = None
        credential = (await self._replies.begin(account)).credential
        if credential is not None and not self._obstacle_to(credential):
            await self._attempt(credential, [])
        await self._replies.finish_visit([])

    async def _make(self, visit: Visit) -> None:
        if await self._refuse_deadly_reads(visit):
            return  # the rest is planned again
        began_ms = self._clock.now_ms()
        known = self._manager.credential
        if known is not None and known.account == visit.account:
            begun, visited = await self._begin_beside(visit, known)
        else:
            begun, visited = await self._replies.begin(visit.account, visit.serves), None
        if begun.dropped:
            self._drop([one for one in visit.serves if one.entry in begun.dropped])
        credential = begun.credential
        if credential is None:
            unknown = AccountUnknownError(
                f"no credential is enrolled for {visit.account};"
                f" add it with `mt5relay accounts add {visit.account}`"
            )
            await self._fail(self._backlog.waiting_for(visit.account), unknown)
            return
        if visited is None or credential != known:
            if begun.dropped:
                return  # who is left is planned for anew
            if obstacle := self._obstacle_to(credential):
                await self._fail(self._backlog.waiting_for(visit.account), obstacle)
                return
            visited = await self._go(visit, credential)
        if visited is None:  # all have expired meanwhile
            await self._replies.finish_visit([])
        elif isinstance(visited, MT5Error):
            await self._give_up(visit, visited)
        else:
            await self._answer(visit, visited, began_ms)

    async def _begin_beside(
        self, visit: Visit, credential: Credential
    ) -> tuple[Begun, Visited | MT5Error | None]:
        """Where the terminal is on the account already, it need not wait until Redis knows."""
        begun = Begun(None, frozenset())
        visited: Visited | MT5Error | None = None

        async def begin() -> None:
            nonlocal begun
            begun = await self._replies.begin(visit.account, visit.serves)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(begin)  # which runs as soon as this task waits for the terminal
            visited = await self._go(visit, credential)
        return begun, visited

    async def _go(self, visit: Visit, credential: Credential) -> Visited | MT5Error | None:
        """Take a visit to the terminal; None where nobody waits for it any more."""
        oldest = self._backlog.oldest_for(visit.account)
        if oldest is None:
            return None
        self._shadow.stall(self._governor.allows_at_ms(visit.account, self._status.current_account))
        self._backlog.visit_begins(oldest)
        return await self._attempt(credential, _reads_of(visit), self._limit_of(visit))

    async def _refuse_deadly_reads(self, visit: Visit) -> bool:
        """Answer requests whose read ended the terminal process a while ago; False if none do."""
        now, account = self._now(), visit.account
        if not self._lockout.has_cooled(account):
            return False
        for one in visit.serves:
            cooling = self._lockout.cooling(account, _read_of(one), now)
            if cooling is not None:
                same = [other for other in visit.serves if _read_of(other) == _read_of(one)]
                operation = one.question.operation
                await self._fail(same, _left_alone(cooling, f"{operation} of {account}", now))
                return True
        return False

    async def _bury(self, visit: Visit, error: DeadlyReadError) -> None:
        """Bury the requests that need a read which ends the process; the others are planned again.

        The read is left alone for a while, under whatever id it is asked for.
        """
        self._shadow.stall(self._clock.now_ms())
        read = _as_cooling(_keys_of(visit)[error.index])
        self._lockout.cool_down(visit.account, read, error, self._now())
        waiting = self._backlog.waiting_for(visit.account)
        deadly = [one for one in waiting if _read_of(one) == read]
        self._backlog.drop(deadly)
        for one in deadly:
            self._tried_before.discard(one.entry)
            self._shadow.refuse(one.entry)
            request = one.request
            log.error(
                "request.buried", request_id=request.id, account=str(one.account), why=str(error)
            )
            await self._replies.bury(one.entry, encode(request), error, request, DEADLY)
        await self._replies.finish_visit([])

    async def _give_up(self, visit: Visit, error: MT5Error) -> None:
        """A visit failed: answer all who wait for the account, but those who may try once more."""
        if isinstance(error, DeadlyReadError):
            await self._bury(visit, error)
            return
        self._shadow.stall(self._clock.now_ms())
        waiting = self._backlog.waiting_for(visit.account)
        failed = [one for one in waiting if not self._spare(one, error)]
        self._backlog.remove(failed)
        if self._backlog.newest_account == visit.account:
            self._backlog.newest_account = None  # who just failed is not followed
        await self._fail(failed, error)

    def _limit_of(self, visit: Visit) -> float:
        """Seconds that the terminal has: as long as anybody waits, but never an unfair chance.

        A caller in a hurry must not make a healthy terminal look broken.
        """
        deadline_ms = max(one.deadline_ms for one in visit.serves)
        fair = max(FAIR_LIMIT, FAIR_FACTOR * self._costs.switch_ms(visit.account) / 1000)
        return max(fair, (deadline_ms - self._clock.now_ms()) / 1000)

    def _obstacle_to(self, credential: Credential) -> MT5Error | None:
        """Why a login would better not be tried now."""
        account, now = credential.account, self._now()
        if why := self._lockout.why_barred(account, credential.fingerprint):
            return MT5StateError(why)
        cooldown = self._lockout.remaining(account, credential.fingerprint, now)
        if cooldown > 0:
            return _locked_out(cooldown, account)
        if cooling := self._lockout.cooling(account, LOGIN, now):
            return _left_alone(cooling, f"logins to {account}", now)
        pause = self._server_pauses.remaining(account.server, now)
        return _takes_no_logins(pause, account) if pause > 0 else None

    async def _attempt(
        self, credential: Credential, reads: Sequence[Read], limit: float | None = None
    ) -> Visited | MT5Error:
        """Use the terminal once, for `limit` seconds at most, and count what came of it."""
        try:
            visited = await self._manager.login(credential, reads, limit)
        except MT5AuthError as refusal:
            return await self._refused(credential, refusal)
        except CredentialRefusedError as refusal:
            return self._barred(credential, refusal)
        except MT5Error as error:
            outcome = await self._outcome_of(credential, error)
            self._breaker.record(outcome, str(error), self._now())
            if outcome is Outcome.NEUTRAL and self._must_cool_down(credential.account, error):
                cooling = self._lockout.cool_down(credential.account, LOGIN, error, self._now())
                log.warning(
                    "account.cools_down", account=str(credential.account), seconds=cooling.seconds
                )
            if is_one_servers(error):
                server = credential.account.server
                error.retry_after = self._server_pauses.refused(server, self._now())
            return error
        self._lockout.accepted(credential.account)
        self._breaker.record(Outcome.SUCCESS, f"{credential.account} answered", self._now())
        self.tally.succeeded(credential, self._now())
        if visited.switched:
            self._server_pauses.accepted(credential.account.server)
            self._costs.observe_switch(credential.account, visited.switch_ms)
        return visited

    def _must_cool_down(self, account: AccountId, error: MT5Error) -> bool:
        """Whether logins to the account take the terminal from others, and in vain."""
        if is_terminals(error):
            return True
        if error.code not in UNTRUSTED:
            return False
        self.tally.untrusted_visits[account] += 1
        return self.tally.untrusted_visits[account] >= UNTRUSTED_VISITS

    async def _refused(self, credential: Credential, refusal: MT5Error) -> MT5Error:
        """A refusal locks the account out, unless so many are refused that it is the terminal."""
        account, fingerprint = credential.account, credential.fingerprint
        cooldown = self._lockout.refused(account, fingerprint, self._now())
        log.warning("account.locked_out", account=str(account), seconds=cooldown)
        if self._lockout.suspects_terminal and not await self.lets_in_a_witness(account):
            self._lockout.acquit_accounts()
            fault = error_for(
                "MT5_INIT_FAILED", "the terminal refuses every account", mt5_error=refusal.mt5_error
            )
            self._breaker.record(Outcome.FAILURE, str(fault), self._now())
            return fault
        self._breaker.record(Outcome.NEUTRAL, str(refusal), self._now())
        refusal.retry_after = cooldown
        return refusal

    def _barred(self, credential: Credential, refusal: CredentialRefusedError) -> MT5Error:
        """Bar an account that could trade, or whose server has another name, until another
        credential is enrolled. A credential that was put back costs no login, so it is looked at
        each time: a person may accept it."""
        account = credential.account
        if refusal.why in ("trading_rights", "server_name"):
            self._lockout.bar(account, credential.fingerprint, refusal.message)
        if self._refused_credentials.get(account) != credential.fingerprint:  # else it was said
            self._refused_credentials[account] = credential.fingerprint
            self._on_refused_credential(account, refusal.why)
        self._breaker.record(Outcome.NEUTRAL, str(refusal), self._now())
        return refusal

    async def lets_in_a_witness(self, account: AccountId) -> bool:
        """Whether the terminal still serves another account that worked before."""
        for _ in range(WITNESSES_HEARD):
            witness = self.tally.witness_besides(account)
            if witness is None:
                break
            try:
                await self._manager.login(witness)
            except MT5Error as error:
                if is_terminals(error):
                    return False
                # Its credential was changed or refused meanwhile, which says nothing about the
                # terminal; the account is no witness any more.
                del self.tally.good[witness.account]
            else:
                self._lockout.accepted(witness.account)
                return True
        return False

    async def _outcome_of(self, credential: Credential, error: MT5Error) -> Outcome:
        """Count a failure against the terminal only on evidence that no single account can give.

        A terminal that can't be attached is down. Everything else may be one account's own trouble,
        so another account that worked before is the witness. Where there is none, the terminal
        itself is: it must not be attachable without an account, or several accounts must have
        failed in a row.
        """
        account = credential.account
        if error.code in UNTRUSTED:
            self.tally.untrusted_in_a_row.add(account)
            if len(self.tally.untrusted_in_a_row) < UNTRUSTED_THRESHOLD:
                return Outcome.NEUTRAL
        elif error.outcome is not Outcome.FAILURE or is_one_servers(error):
            return Outcome.NEUTRAL
        if error.code == "MT5_INIT_FAILED" and not self._manager.is_attached:
            return Outcome.FAILURE
        self.tally.failed_in_a_row.add(account)
        if self.tally.witness_besides(account) is not None:
            is_well = await self.lets_in_a_witness(account)
        elif len(self.tally.failed_in_a_row) >= FAILED_THRESHOLD or error.code in UNTRUSTED:
            is_well = False
        elif await self._can_be_attached():
            return Outcome.NEUTRAL  # the next account that fails counts
        else:
            is_well = False
        self.tally.untrusted_in_a_row.clear()
        self.tally.failed_in_a_row.clear()
        return Outcome.NEUTRAL if is_well else Outcome.FAILURE

    async def _can_be_attached(self) -> bool:
        try:
            await self._manager.reconnect(max_attempts=1)
        except MT5Error:
            return False
        return True

    def _now(self) -> float:
        return anyio.current_time()

    async def _answer(self, visit: Visit, visited: Visited, began_ms: int) -> None:
        """Answer everybody whom these reads serve, those who came during the login included."""
        read_began_ms = self._clock.at_ms(visited.sent_at) + round(visited.switch_ms)
        results = dict(zip(_keys_of(visit), visited.results, strict=True))
        for operation, result in zip(_operations_of(visit), visited.results, strict=True):
            self._costs.observe_read(operation, result.took_ms)
        now_ms = self._clock.now_ms()
        served = [
            *(one for one in visit.serves if one.entry in self._backlog),  # others have left
            *(
                one
                for one in self._backlog.joined_after(visit.account, visit.planned_at)
                if visit.answers(one) and one.accepts(read_began_ms, now_ms)
            ),
        ]
        settled = [
            (one, result)
            for one in served
            for result in (results[_key_of(one)],)
            if result.data is not None or not self._spare(one, error_of(result))
        ]
        for one, _ in settled:
            self._tried_before.discard(one.entry)
        self._backlog.remove(one for one, _ in settled)
        finished = Finished(visit, visited, settled, began_ms, read_began_ms)
        await self._delivery.deliver(finished, goes_on=len(self._backlog) > 0)

    def _spare(self, one: Waiting, error: MT5Error) -> bool:
        """A failure that may pass is tried once more for those with time left."""
        has_time = one.deadline_ms > self._clock.now_ms()
        may_pass = error.retryable and self._breaker.is_closed
        if not (may_pass and has_time) or one.entry in self._tried_before:
            return False
        if len(self._tried_before) > len(self._backlog):  # some expired without being taken off
            self._tried_before = {entry for entry in self._tried_before if entry in self._backlog}
        self._tried_before.add(one.entry)
        return True

    def _drop(self, unheard: Sequence[Waiting]) -> None:
        """Nobody waits for these any more: the terminal is spared, and nobody is told."""
        self._backlog.drop(unheard)
        now_ms = self._clock.now_ms()
        for one in unheard:
            self._tried_before.discard(one.entry)
            self._shadow.leave(one.entry, now_ms)
            log.info("request.dropped", request_id=one.request.id, account=str(one.account))

    async def _fail(self, failed: Sequence[Waiting], error: MT5Error) -> None:
        """Answer requests that the terminal could not serve."""
        answers = await self._fallback.answers(failed, error)
        self._backlog.drop(failed)
        for one in failed:
            self._tried_before.discard(one.entry)
            self._shadow.refuse(one.entry)
            log.info(
                "request.failed",
                request_id=one.request.id,
                account=str(one.account),
                code=error.code,
            )
        await self._replies.finish_visit(answers)


def _named(visit: Visit) -> list[str]:
    """The ids that a visit's log lines carry; a long list is cut, each has lines of its own."""
    return [one.request.id for one in visit.serves[:NAMED_IN_LOGS]]


def _locked_out(cooldown: float, account: AccountId) -> MT5Error:
    return MT5AuthError(
        f"{account} was refused and is cooling down; enrol its new password, wait, or"
        f" `mt5relay accounts unlock {account}`",
        retry_after=cooldown,
    )


def _left_alone(cooling: Cooling, what: str, now: float) -> MT5Error:
    seconds = cooling.until - now
    return error_for(
        cooling.why.code,
        f"{what}: left alone for {seconds:.0f} s more, because of: {cooling.why.message}",
        retry_after=seconds,
        mt5_error=cooling.why.mt5_error,
    )


def _takes_no_logins(pause: float, account: AccountId) -> MT5Error:
    return error_for(
        "BROKER_UNAVAILABLE",
        f"{account.server} took no logins a moment ago; it is left alone for {pause:.0f} s",
        retry_after=pause,
    )


def _key_of(one: Waiting) -> object:
    """What tells one read's result from the others' within a visit."""
    return one.question.operation if one.is_in_snapshot else one.question


def _read_of(one: Waiting) -> Hashable:
    """The read that answers a request, as it is told from the account's other reads."""
    return SNAPSHOT if one.is_in_snapshot else one.question


def _as_cooling(key: object) -> Hashable:
    """One read of the snapshot stands for all of them: they are made together."""
    return SNAPSHOT if isinstance(key, Operation) else key


def _keys_of(visit: Visit) -> list[object]:
    shared: tuple[object, ...] = SNAPSHOT_OPERATIONS if visit.reads_snapshot else ()
    return [*shared, *visit.questions]


def _operations_of(visit: Visit) -> list[Operation]:
    shared = SNAPSHOT_OPERATIONS if visit.reads_snapshot else ()
    return [*shared, *(question.operation for question in visit.questions)]


def _reads_of(visit: Visit) -> list[Read]:
    shared = SNAPSHOT_OPERATIONS if visit.reads_snapshot else ()
    return [
        *(Read(operation) for operation in shared),
        *(
            Read(question.operation, msgspec.to_builtins(question.arguments))
            for question in visit.questions
        ),
    ]
