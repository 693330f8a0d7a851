"""`mt5relay-worker probe`: what a terminal takes its time for, measured on the owner's own host.

`command.py` asks and prints, `host.py` measures in a process of its own, because a call on the
binding can only be ended with its process. What is measured crosses as it comes (`messages.py`), so
that a call that hangs costs nothing but the rest.
"""
