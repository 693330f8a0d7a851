"""How long tests wait for what must happen."""

HANG_LIMIT = 60.0
"""Seconds that only end a hang, below the 300 s after which pytest shows every stack.

What is waited for takes a fraction of a second; on a machine that is busy with other work it may
take many times as long, and no test may fail for that. A promise about time is measured in virtual
time, as a ratio within one run, or by what came first.
"""
