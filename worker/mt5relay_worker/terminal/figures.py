"""What an account's own figures say of how far the terminal has got. Pure."""

from __future__ import annotations

from mt5relay_shared.records import AccountInfo

_CENT = 0.005  # money is compared to half a cent


def is_hydrated(info: AccountInfo) -> bool:
    """Whether the margin was computed: free margin is 0 only where equity minus margin is.

    Told by balance and equity: an account may live on credit alone.
    """
    if info.margin_free != 0 or (info.balance <= 0 and info.equity <= _CENT):
        return True
    return abs(info.equity - info.margin) < _CENT and info.margin > 0


def implies_positions(info: AccountInfo) -> bool:
    """Whether the account's own figures say that there must be open positions."""
    return info.margin > _CENT or abs(info.profit) > _CENT
