"""Who may read a private key's file, and how it is made so that its owner alone may.

On POSIX the mode says it. On Windows the access control list does, asked for as SDDL, the text
form that is the same in every language of Windows, and judged by a pure function.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path

from mt5relay_shared.errors import MT5ValidationError

_ENTRY = re.compile(r"\((\w+);([^;()]*);([^;()]*);[^;()]*;[^;()]*;([^;()]+)")
_MANY_PEOPLE = {
    "WD": "Everyone",
    "S-1-1-0": "Everyone",
    "AN": "Anonymous",
    "S-1-5-7": "Anonymous",
    "BU": "Users",
    "S-1-5-32-545": "Users",
    "AU": "Authenticated Users",
    "S-1-5-11": "Authenticated Users",
    "BG": "Guests",
    "S-1-5-32-546": "Guests",
    "IU": "Interactive users",
    "S-1-5-4": "Interactive users",
    "NU": "Network users",
    "S-1-5-2": "Network users",
    "DU": "Domain Users",
    "DG": "Domain Guests",
}
"""Well-known groups, by their SDDL alias and by SID, that no secret is to be shared with."""

_READS_IN_WORDS = frozenset({"GA", "GR", "GX", "FA", "FR", "CC", "WD", "WO"})
_READS_IN_BITS = 0x0000_0001 | 0x0004_0000 | 0x0008_0000 | 0x8000_0000 | 0x1000_0000
"""To read it, or to give oneself that right: FILE_READ_DATA, WRITE_DAC, WRITE_OWNER, and generic
read and all."""


def readers_in(sddl: str) -> list[str]:
    """Which well-known groups of many people a security descriptor lets read the file.

    >>> readers_in("D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;0x1200a9;;;BU)")
    ['Users']
    """
    dacl = re.search(r"D:(.*?)(?:S:[A-Z_]*(?:\(.*)?)?$", sddl)
    if dacl is None or "NO_ACCESS_CONTROL" in dacl[1]:
        return ["Everyone"]  # without a list everybody may do everything
    found: list[str] = []
    for kind, flags, rights, who in _ENTRY.findall(dacl[1]):
        applies = "IO" not in re.findall("..", flags)  # else it is for what a folder will hold
        name = _MANY_PEOPLE.get(who) or _domain_group(who)
        if kind in ("A", "XA") and applies and name and _may_read(rights) and name not in found:
            found.append(name)
    return found


def _domain_group(sid: str) -> str | None:
    match = re.fullmatch(r"S-1-5-21-\d+-\d+-\d+-(513|514)", sid)
    return None if match is None else {"513": "Domain Users", "514": "Domain Guests"}[match[1]]


def _may_read(rights: str) -> bool:
    if rights[:2].lower() == "0x":
        return bool(int(rights, 16) & _READS_IN_BITS)
    if rights.isdigit():
        return bool(int(rights, 8 if rights[0] == "0" else 10) & _READS_IN_BITS)
    return not _READS_IN_WORDS.isdisjoint(re.findall("..", rights))


def require_owner_only(path: Path) -> None:
    """Refuse a private key's file that others may read.

    Raises:
        MT5ValidationError: with the command that mends it.
    """
    if sys.platform == "win32":
        others = ", ".join(readers_in(_sddl_of(path)))
        remedy = (
            "chmod 600, in Linux"  # Wine's list is the file's mode, the group's bits left out
            if hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
            else f'icacls "{path}" /inheritance:r /grant:r "%USERNAME%:F" "*S-1-5-18:F"'
        )
    else:
        others = "others" if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) else ""
        remedy = f"chmod 600 {path}"
    if others:
        raise MT5ValidationError(
            f"private key: {others} may read {path}; keep it to its owner with `{remedy}`"
        )


def create_owner_only(path: Path, content: bytes) -> None:
    """Make a new file that its owner alone may read (on Windows: the owner and the system, whatever
    the folder says; under Wine also the owner's group), and write it to the disk.

    Raises:
        OSError: FileExistsError where it exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if sys.platform == "win32":
                _protect(path)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


_O_BINARY = getattr(os, "O_BINARY", 0)


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _ADVAPI = ctypes.WinDLL("advapi32", use_last_error=True)
    _KERNEL = ctypes.WinDLL("kernel32", use_last_error=True)
    _KERNEL.LocalFree.argtypes = [ctypes.c_void_p]
    _KERNEL.GetCurrentProcess.restype = wintypes.HANDLE
    _KERNEL.CloseHandle.argtypes = [wintypes.HANDLE]
    _OWNER, _DACL, _PROTECTED = 0x1, 0x4, 0x8000_0000
    _TOKEN_QUERY, _TOKEN_USER, _FILE_OBJECT, _REVISION = 0x8, 1, 1, 1

    def _sddl_of(path: Path) -> str:
        descriptor, text = ctypes.c_void_p(), wintypes.LPWSTR()
        failed = _ADVAPI.GetNamedSecurityInfoW(
            ctypes.c_wchar_p(str(path)),
            *(_FILE_OBJECT, _OWNER | _DACL, None, None, None, None),
            ctypes.byref(descriptor),
        )
        if failed:
            raise ctypes.WinError(failed)
        try:
            _require(
                _ADVAPI.ConvertSecurityDescriptorToStringSecurityDescriptorW(
                    descriptor, _REVISION, _OWNER | _DACL, ctypes.byref(text), None
                )
            )
            return text.value or ""
        finally:
            _KERNEL.LocalFree(text)
            _KERNEL.LocalFree(descriptor)

    def _protect(path: Path) -> None:
        """Set an access control list of its own that inherits nothing."""
        descriptor = ctypes.c_void_p()
        sddl = f"D:P(A;;FA;;;SY)(A;;FA;;;{_own_sid()})"
        _require(
            _ADVAPI.ConvertStringSecurityDescriptorToSecurityDescriptorW(
                ctypes.c_wchar_p(sddl), _REVISION, ctypes.byref(descriptor), None
            )
        )
        try:
            _require(
                _ADVAPI.SetFileSecurityW(
                    ctypes.c_wchar_p(str(path)), wintypes.DWORD(_DACL | _PROTECTED), descriptor
                )
            )
        finally:
            _KERNEL.LocalFree(descriptor)

    def _own_sid() -> str:
        token, text, size = wintypes.HANDLE(), wintypes.LPWSTR(), wintypes.DWORD()
        process = wintypes.HANDLE(_KERNEL.GetCurrentProcess())
        _require(_ADVAPI.OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)))
        try:
            _ADVAPI.GetTokenInformation(token, _TOKEN_USER, None, 0, ctypes.byref(size))
            user = ctypes.create_string_buffer(size.value)
            _require(
                _ADVAPI.GetTokenInformation(token, _TOKEN_USER, user, size, ctypes.byref(size))
            )
            sid = ctypes.c_void_p.from_buffer(user)  # TOKEN_USER begins with the pointer
            _require(_ADVAPI.ConvertSidToStringSidW(sid, ctypes.byref(text)))
            return text.value or ""
        finally:
            _KERNEL.LocalFree(text)
            _KERNEL.CloseHandle(token)

    def _require(succeeded: int) -> None:
        if not succeeded:
            raise ctypes.WinError(ctypes.get_last_error())
