"""A password that a shell pipes is the password, or is refused."""

from __future__ import annotations

import io

import pytest

from mt5relay_shared.accounts import check_entered_password, check_password
from mt5relay_shared.errors import MT5ValidationError
from mt5relay_shared.secret_input import read_secret_line


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("password", ["pläin-1", "пароль", "p", "\u010a-\u0a0a"])
def test_a_line_is_read_in_any_encoding_that_says_what_it_is(
    encoding: str, end: str, password: str
) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    stream = io.BytesIO((mark + password + end).encode(encoding))
    assert read_secret_line(stream) == password


def test_lines_of_several_accounts_are_read_one_by_one() -> None:
    stream = io.BytesIO(b"\xef\xbb\xbffirst\r\nsecond\n")
    assert [read_secret_line(stream) for _ in range(3)] == ["first", "second", ""]


def test_an_unmarked_encoding_is_refused_without_a_quotation() -> None:
    with pytest.raises(MT5ValidationError, match="not UTF-8") as refused:
        read_secret_line(io.BytesIO("pläin-1\n".encode("latin-1")))
    assert "in-1" not in str(refused.value)


@pytest.mark.parametrize(
    "password",
    [
        "\ufeffpw",
        "pw\ufeff",
        "p\u200bw",
        "pw\u00a0",
        "\u2060pw",
        "p\u2028w",
        "pw\r",
        "p\0w",
        "\u3000",
    ],
)
def test_what_no_person_sees_is_refused(password: str) -> None:
    with pytest.raises(MT5ValidationError, match="character"):
        check_entered_password(password)


@pytest.mark.parametrize("password", [" pw", "pw ", "p\ufffdw", "\u00ef\u00bb\u00bfpw"])
def test_what_no_person_means_is_refused(password: str) -> None:
    with pytest.raises(MT5ValidationError, match=r"space at an end|wrong encoding"):
        check_entered_password(password)


def test_what_was_enrolled_before_stays_usable() -> None:
    for password in ("pw\u00a0", " pw ", "p\u200bw"):
        check_password(password)


@pytest.mark.parametrize("password", ["a b", "pässwörd", "🔑🔑", "пароль", "密码密码"])
def test_what_a_person_types_is_accepted(password: str) -> None:
    check_entered_password(password)
