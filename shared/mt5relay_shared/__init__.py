"""The contract between gateways and workers: messages, keys, errors, scripts, settings.

Nothing here decides anything about a terminal or a client. Both sides import it,
it imports neither.
"""

__version__ = "0.2.0.dev0"
WIRE_VERSION = 1
