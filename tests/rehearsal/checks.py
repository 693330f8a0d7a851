"""What a user does after the guide's last block, and what nobody should be able to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rehearsal.host import Host
from tests.rehearsal.processes import command_of, told_of
from tests.rehearsal.supervisor import Supervisor

ACCOUNT, BALANCE = "25115284@MetaQuotes-Demo", 10_000.0  # of deploy/accounts.sample.json
ACCOUNT_PASSWORD = "invented-1"
STRANGER = "50100001@Example-Live"  # the token's pattern does not fit it
LIMIT = 60.0  # seconds for one command
MOST_EXPOSED = 25  # as tests/deploy/test_systemd_units.py has it
TERMINAL = "main"
WORKER, GATEWAY, REDIS = f"mt5relay-worker@{TERMINAL}", "mt5relay-gateway", "mt5relay-redis"


class CheckFailedError(Exception):
    """Not as it should be; the message says what was found."""


@dataclass(frozen=True)
class Ended:
    """How a command ended; `said` is both its outputs."""

    status: int
    said: str


@dataclass(frozen=True)
class Checks:
    """Checks of a system that the guide has set up on `host`; each raises CheckFailedError."""

    host: Host
    supervisor: Supervisor

    # ---- A user's -------------------------------------------------------------------------------

    def the_answer_is_the_accounts(self) -> None:
        status, body = self.ask(f"/v1/accounts/{ACCOUNT}")
        wanted = (200, ACCOUNT, BALANCE)
        self.expect((status, body.get("account"), body.get("data", {}).get("balance")), wanted)

    def the_doctor_finds_no_problem(self) -> None:
        ended = self.relay("operator", "doctor")
        self.expect(ended.status, 0, ended.said)

    def the_worker_finds_no_problem(self) -> None:
        worker = self.supervisor.services[WORKER]
        program = self.host.programs / "mt5relay-worker"
        environment = {
            **self.host.environment(),
            **worker.environment(),
            "MT5_LOG_FORMAT": "json",
        }
        ended = self.run([str(program), "check"], environment)
        self.expect(ended.status, 0, ended.said)

    def prometheus_accepts_its_configuration(self) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            raise CheckFailedError("promtool is missing; on Debian: apt-get install prometheus")
        folder = self.host.scratch / "prometheus"
        shutil.copytree(self.host.checkout / "deploy/prometheus", folder)
        file, token = folder / "prometheus.yml", self.host.root / "etc/mt5relay/prometheus.token"
        text = file.read_text("utf-8").replace("/run/secrets/prometheus-token", str(token))
        file.write_text(text, "utf-8")
        ended = self.run([promtool, "check", "config", str(file)])
        self.expect(ended.status, 0, ended.said)

    def systemd_accepts_the_units(self) -> None:
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            raise CheckFailedError("systemd-analyze is missing; on Debian: apt-get install systemd")
        folder = self.host.root / "etc/systemd/system"
        for template in sorted(folder.glob("*@.service")):
            shutil.copy(template, folder / template.name.replace("@.", f"@{TERMINAL}."))
        units = [str(unit) for unit in sorted(folder.glob("*.service")) if "@." not in unit.name]
        ended = self.run([analyze, "verify", "--man=no", *units])
        self.expect((ended.status, ended.said), (0, ""))
        for unit in units:
            judged = [analyze, "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", unit]
            ended = self.run(judged)
            self.expect(ended.status, 0, ended.said)

    # ---- What nobody should be able to do -------------------------------------------------------

    def without_a_token_nothing_is_told(self) -> None:
        self.expect(self.ask(f"/v1/accounts/{ACCOUNT}", caller=None)[0], 401)

    def a_token_opens_no_more_than_it_should(self) -> None:
        body = json.dumps({"password": "another"})
        status, said = self.ask(f"/v1/accounts/{ACCOUNT}/credential", method="PUT", body=body)
        self.expect((status, said.get("code")), (403, "FORBIDDEN"))
        self.expect(self.ask(f"/v1/accounts/{STRANGER}")[0], 403)

    def a_monitor_enrols_nobody(self) -> None:
        ended = self.relay("monitor", "accounts", "add", ACCOUNT, text=ACCOUNT_PASSWORD)
        self.expect(ended.status != 0, True, ended.said)

    def no_other_machine_is_reached_in_the_clear(self) -> None:
        elsewhere = {"REDIS_URL": "redis://operator:planted@192.0.2.1:6379/0"}
        for name, words, status in (
            ("mt5relay", ["health"], 2),
            ("mt5relay", ["gateway"], 2),
            ("mt5relay-worker", ["run"], 78),
        ):
            simulated = {"MT5_TERMINAL": "simulated"}
            environment = {**self.host.environment(), **elsewhere, **simulated}
            ended = self.run([str(self.host.programs / name), *words], environment)
            named = "MT5_ALLOW_PLAINTEXT_REDIS" in ended.said and "planted" not in ended.said
            self.expect((ended.status, named), (status, True), ended.said)

    def without_a_certificate_nobody_gets_in(self) -> None:
        bare = self.host.url("operator").partition("&ssl_certfile")[0]
        environment = {**self.host.environment(), "REDIS_URL": bare}
        ended = self.run([str(self.host.programs / "mt5relay"), "health"], environment)
        named = "ssl_certfile" in ended.said
        self.expect((ended.status, named), (69, True), ended.said)

    def no_log_holds_a_secret(self) -> None:
        folder = self.host.root / "etc/mt5relay"
        files = [*folder.glob("secrets/*.password"), *folder.glob("*.token")]
        secrets = [ACCOUNT_PASSWORD, *(file.read_text("utf-8").strip() for file in files)]
        self.expect(len(secrets) > 6, True)
        for service in self.supervisor.services.values():
            text = service.log.read_text("utf-8", "replace")
            found = [secret[:4] for secret in secrets if secret in text]
            self.expect(found, [], f"in the log of {service.unit.name}")

    # ---- What goes wrong, and mends itself ------------------------------------------------------

    def a_killed_worker_comes_back(self) -> None:
        pid = int((self.host.root / f"run/{WORKER}".replace("@", "-") / "run/pid").read_text())
        self.kill_and_ask(WORKER, pid)

    def a_killed_gateway_comes_back(self) -> None:
        self.kill_and_ask(GATEWAY, self.supervisor.services[GATEWAY].pid)

    def a_killed_redis_comes_back_and_forgets_nothing(self) -> None:
        before = self.fence()
        time.sleep(1.2)  # appendfsync everysec
        self.kill_and_ask(REDIS, self.supervisor.services[REDIS].pid)
        self.expect(self.fence() >= before > 0, True, f"the fence was {before} before")

    def fence(self) -> int:
        """How often the terminal was taken over; it never goes back."""
        ended = self.relay("monitor", "health", "--json")
        try:
            return int(json.loads(ended.said)["fence"])
        except (ValueError, KeyError):
            raise CheckFailedError(ended.said) from None

    def certificates_are_renewed_while_it_works(self) -> None:
        tls = self.host.root / "etc/mt5relay/tls"
        script = self.host.checkout / "deploy/redis/certificates.py"
        before = (tls / "gateway.crt").read_bytes()
        for words in (("server", "localhost"), ("client", "gateway", "worker", "operator")):
            python = str(self.host.programs / "python")
            ended = self.run([python, str(script), *words, "--out", str(tls)])
            self.expect(ended.status, 0, ended.said)
        self.expect((tls / "gateway.crt").read_bytes() != before, True)
        self.expect(self.supervisor.systemctl(["restart", REDIS]), (0, ""))
        self.until_answered()

    # ---- The end --------------------------------------------------------------------------------

    def everything_stops_when_asked(self) -> None:
        for name, stopped in self.supervisor.stop_all().items():
            log = self.supervisor.services[name].tail()
            found = (name, stopped.by_itself, stopped.status in (0, -signal.SIGTERM))
            self.expect(found, (name, True, True), f"status {stopped.status}\n{log}")

    def nothing_is_left_running(self) -> None:
        left = told_of(str(self.host.scratch))
        self.expect([f"{pid} {command_of(pid)}" for pid in left], [])

    # ---- How ------------------------------------------------------------------------------------

    def in_order(self) -> list[Callable[[], None]]:
        """All of them but for those of the end."""
        return [
            self.the_answer_is_the_accounts,
            self.the_doctor_finds_no_problem,
            self.the_worker_finds_no_problem,
            self.prometheus_accepts_its_configuration,
            self.systemd_accepts_the_units,
            self.without_a_token_nothing_is_told,
            self.a_token_opens_no_more_than_it_should,
            self.a_monitor_enrols_nobody,
            self.no_other_machine_is_reached_in_the_clear,
            self.without_a_certificate_nobody_gets_in,
            self.a_killed_worker_comes_back,
            self.a_killed_gateway_comes_back,
            self.a_killed_redis_comes_back_and_forgets_nothing,
            self.certificates_are_renewed_while_it_works,
            self.no_log_holds_a_secret,
        ]

    def at_the_end(self) -> list[Callable[[], None]]:
        return [self.everything_stops_when_asked, self.nothing_is_left_running]

    def kill_and_ask(self, name: str, pid: int) -> None:
        """Kill a process of a service; the service must be started again, and answer."""
        before = self.supervisor.services[name].restarts
        os.kill(pid, signal.SIGKILL)
        give_up = time.monotonic() + LIMIT
        while self.supervisor.services[name].restarts == before:
            if time.monotonic() > give_up:
                raise CheckFailedError(f"{name} was not started again")
            time.sleep(0.05)
        self.until_answered()

    def until_answered(self) -> None:
        """Ask until there is an answer of the terminal's, as a patient caller."""
        give_up = time.monotonic() + LIMIT
        while True:
            status, body = self.ask(f"/v1/accounts/{ACCOUNT}")
            if (status, body.get("source")) == (200, "terminal"):
                return
            if time.monotonic() > give_up:
                raise CheckFailedError(f"no answer of the terminal: {status} {body}")
            time.sleep(0.2)

    def ask(
        self, path: str, *, caller: str | None = "backend", method: str = "GET", body: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """A request by curl; status and body, or 0 and what curl said."""
        words = ["curl", "--silent", "--show-error", "--max-time", "30", "--request", method]
        if caller is not None:
            words += ["--header", f"@{self.token_header(caller)}"]
        if body:
            words += ["--header", "Content-Type: application/json", "--data", body]
        address = f"http://127.0.0.1:{self.host.port(8080)}{path}"
        ended = self.run([*words, "--write-out", r"\n%{http_code}", address])
        said, _, status = ended.said.rstrip().rpartition("\n")
        try:
            return int(status), json.loads(said)
        except ValueError:
            return 0, {"curl": ended.said}

    def token_header(self, name: str) -> Path:
        """A file, so that the token stands in no process arguments."""
        file = self.host.scratch / f"{name}.header"
        if not file.exists():
            file.touch(0o600)
            file.write_text(f"Authorization: Bearer {self.host.secret(f'{name}.token')}\n", "utf-8")
        return file

    def relay(self, user: str, *words: str, text: str = "") -> Ended:
        """`mt5relay` as one of Redis' users."""
        environment = {
            **self.host.environment(),
            "REDIS_URL": self.host.url(user),
            "MT5_TERMINAL_ID": TERMINAL,
        }
        return self.run([str(self.host.programs / "mt5relay"), *words], environment, text)

    def run(
        self, words: Sequence[str], environment: dict[str, str] | None = None, text: str = ""
    ) -> Ended:
        try:
            ran = subprocess.run(
                words,
                env=environment or self.host.environment(),
                cwd=self.host.scratch,
                input=text,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise CheckFailedError(f"{words[0]} took longer than {late.timeout:.0f} s") from None
        return Ended(ran.returncode, ran.stdout)

    def expect(self, found: object, wanted: object, said: str = "") -> None:
        if found != wanted:
            raise CheckFailedError(f"found {found!r}, wanted {wanted!r}\n{said}".rstrip())
