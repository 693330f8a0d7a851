"""What an account's own figures say of how far the terminal has got. Pure."""

from __future__ import annotations

from mt5relay_shared.records import AccountInfo

HALF_A_CENT = 0.005


def is_hydrated(info: AccountInfo) -> bool:
    """Whether the margin was computed: free margin is 0 only where equity minus margin is.

    Told by balance and equity: an account may live on credit alone.
    """
    least = smallest_amount(info)
    if info.margin_free != 0 or (info.balance <= 0 and info.equity <= least):
        return True
    return abs(info.equity - info.margin) < least and info.margin > 0


def implies_positions(info: AccountInfo) -> bool:
    """Whether the account's own figures say that there must be open positions."""
    least = smallest_amount(info)
    return info.margin > least or abs(info.profit) > least


def smallest_amount(info: AccountInfo) -> float:
    """Half of the currency's smallest unit; any amount above it is an amount.

    Never more than half a cent: where a currency has no digits, as the yen, margins may have some.
    """
    return min(HALF_A_CENT, 0.5 * 10.0 ** -min(max(info.currency_digits, 0), 15))
