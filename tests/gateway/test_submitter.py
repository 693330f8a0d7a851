from __future__ import annotations

from typing import Any

import pytest

from mt5relay_gateway import MT5Error
from mt5relay_gateway.submitter import (
    Conflict,
    Queued,
    Refused,
    Stored,
    Submission,
    decode_submission,
)


@pytest.mark.parametrize(
    ("answer", "submission"),
    [
        ([b"stored", b"{}"], Stored(b"{}")),
        ([b"accepted", b"1-0"], Queued("1-0")),
        ([b"attached", b"1-0"], Queued("1-0")),
        ([b"refused", b"TOO_LATE", 1500], Refused("TOO_LATE", 1.5)),
        ([b"refused", b"NO_WORKER", 0], Refused("NO_WORKER", None)),
        ([b"conflict"], Conflict()),
    ],
)
def test_each_answer_of_the_script_has_one_meaning(
    answer: list[Any], submission: Submission
) -> None:
    assert decode_submission(answer) == submission


@pytest.mark.parametrize("answer", [[], [b"perhaps"], [b"stored"]])
def test_an_unknown_answer_is_an_error_never_a_success(answer: list[Any]) -> None:
    with pytest.raises(MT5Error, match="does not know"):
        decode_submission(answer)
