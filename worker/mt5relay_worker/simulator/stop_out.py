"""What a broker does with an account that can't carry its positions any more."""

from __future__ import annotations

from mt5relay_worker.simulator.ledger import Ledger
from mt5relay_worker.simulator.surface import Constants

STOP_OUT_LEVEL = 30.0
"""Percent; as `account_info().margin_so_so` says."""


def stop_out(ledger: Ledger, now: float) -> None:
    """Close the position that lost most, then the next, until the margin level is above 30 %.

    At the prices of `now` alone: a low between two looks is not seen.
    """
    while ledger.positions:
        figures = ledger.standing(now)
        if figures.margin <= 0 or figures.margin_level > STOP_OUT_LEVEL:
            return
        worst = min(ledger.valued_positions(now), key=lambda held: held.profit)
        deal = ledger.reduce(ledger.closing(worst.ticket, worst.volume, now))
        words = f"[so {figures.margin_level:.2f}%]"
        ledger.deals[-1] = deal._replace(reason=Constants.DEAL_REASON_SO, comment=words)
        ledger.past_orders[-1] = ledger.past_orders[-1]._replace(
            reason=Constants.ORDER_REASON_SO, comment=words
        )
