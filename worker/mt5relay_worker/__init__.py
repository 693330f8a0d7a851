"""The process that drains a terminal's request stream."""
