"""A MetaTrader 5 terminal that behaves, and misbehaves, like the real one."""

from mt5relay_worker.simulator.book import Book, BookError, dump_book, load_book
from mt5relay_worker.simulator.demo_book import generate_book
from mt5relay_worker.simulator.faults import Faults, FaultsError, LogNormal, load_faults
from mt5relay_worker.simulator.terminal import SimulatedMetaTrader5

__all__ = [
    "Book",
    "BookError",
    "Faults",
    "FaultsError",
    "LogNormal",
    "SimulatedMetaTrader5",
    "dump_book",
    "generate_book",
    "load_book",
    "load_faults",
]
