"""Which errors of Redis pass by themselves."""

from __future__ import annotations

from redis import exceptions as foreign

_PASSING = (
    foreign.ConnectionError,  # LOADING included: redis-py makes a connection error of it
    foreign.TimeoutError,
    foreign.OutOfMemoryError,
    foreign.ReadOnlyError,
    foreign.MasterDownError,
    foreign.ClusterDownError,
    foreign.TryAgainError,
)
_PASSING_CODES = (
    "BUSY ",  # another client's script runs for long
    "MISCONF ",  # the disk is full, or saving fails
    "NOREPLICAS ",  # fewer replicas than min-replicas-to-write
    "LOADING ",
    "MASTERDOWN ",
    "NOMASTERLINK ",
)
_REFUSED = (foreign.AuthenticationError, foreign.AuthorizationError)


def passes_by_itself(error: BaseException) -> bool:
    """Whether the same command may succeed later without a change of settings or of data.

    redis-py has no class for some codes; then the text begins with the code, also where a script
    passes it on.
    """
    if isinstance(error, _REFUSED):
        return False
    return isinstance(error, _PASSING) or (
        isinstance(error, foreign.ResponseError) and str(error).startswith(_PASSING_CODES)
    )
