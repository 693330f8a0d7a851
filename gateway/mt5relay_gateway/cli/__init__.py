"""`mt5relay`, the operator's command."""

from mt5relay_gateway.cli.app import main

__all__ = ["main"]
