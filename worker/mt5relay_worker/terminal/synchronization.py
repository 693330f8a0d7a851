"""When the lists of positions and orders may be trusted after a login.

Pure: told what a look found, says what follows. The journal is the only witness that the terminal
has everything; without it, totals that hold still and agree with the account's figures are assumed
to be right. No figure speaks against empty lists of an account without positions, so these are
doubted where something was open before, or where a journal is there and has not spoken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mt5relay_worker.terminal.journal_lines import Synchronized
from mt5relay_worker.terminal.login_report import LoginReport
from mt5relay_worker.terminal.metatrader5 import Totals

Verdict = Literal["confirmed", "assumed", "doubtful", "wait"]

PROMPT = 0.5  # seconds that a journal may be behind and still be worth waiting for
MOST_SILENCES = 3  # waits in a row for a word on empty lists that never came
NOTHING = Totals(0, 0)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the terminal found.

    `is_still`: the look before found the same totals. `agrees`: the account's figures do not speak
    against them.
    """

    totals: Totals | None
    is_still: bool
    agrees: bool
    report: LoginReport


def judge(look: Look, *, patient: bool, suspicious: bool = False) -> Verdict:
    """Decide on a look; `patient` to wait for a journal that has not said everything yet,
    `suspicious` to doubt that nothing is open as long as the journal does not say so.

    Lists that are empty where the journal counted some are waited for in any case: they must not be
    taken for "none".
    """
    if look.totals is None or not look.agrees:
        return "wait"
    said = look.report.synchronized
    if said is not None and _counted(said) == look.totals:
        return "confirmed"
    if not look.is_still or (said is not None and _is_missing_a_list(look.totals, said)):
        return "wait"
    if suspicious and said is None and look.totals == NOTHING:
        return "doubtful"
    is_behind = look.report.is_authorized and (said is None or _counted(said) is not None)
    return "wait" if is_behind and patient else "assumed"


def _counted(said: Synchronized) -> Totals | None:
    if said.positions is None or said.orders is None:
        return None
    return Totals(said.positions, said.orders)


def _is_missing_a_list(totals: Totals, said: Synchronized) -> bool:
    return bool((said.positions and not totals.positions) or (said.orders and not totals.orders))


class Patience:
    """Whether the journal is worth waiting for: not after a wait that taught nothing.

    A terminal that writes its journal seconds late costs one wait, then none until a line is there
    in time by itself. Where nothing is open it is waited for each time, because nobody else tells
    that from lists which are not there yet; until it was silent several times in a row.
    """

    def __init__(self) -> None:
        self.is_worth_it = True
        self._silences = 0

    @property
    def expects_a_word(self) -> bool:
        return self._silences < MOST_SILENCES

    def learn(self, verdict: Verdict, waited: float, *, lists_changed: bool) -> None:
        """After a switch: how long, in seconds, it waited for the journal alone."""
        if verdict == "confirmed":
            self._silences = 0
            self.is_worth_it = lists_changed or waited <= PROMPT
        elif waited > 0:
            self.is_worth_it = False

    def heard_nothing(self) -> None:
        """After a whole wait for a word on empty lists."""
        self._silences += 1

    def __repr__(self) -> str:
        return f"<Patience {'worth it' if self.is_worth_it else 'not worth it'}>"
