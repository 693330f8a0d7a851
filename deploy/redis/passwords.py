"""Give users of an ACL file new random passwords. Needs nothing but Python 3.11.

    python3 passwords.py users.acl --out /etc/mt5relay/secrets               every user
    python3 passwords.py users.acl --out /etc/mt5relay/secrets worker        one of them
    python3 passwords.py users.acl --out … --retire worker                   end the older ones
    python3 passwords.py users.acl --out … --url 'redis://{user}:{password}@redis:6379/0'

The ACL file gets the hash of each; the new password itself goes to `<user>.password` in the
directory, readable by its owner only, and is printed nowhere. With `--url`, `<user>.env` gets the
line REDIS_URL=…, as `env_file` of compose and `EnvironmentFile` of systemd read it. A password that
was set before stays good beside the new one, so that processes can be restarted one by one;
`--retire` ends it. A running server reads the file again on `ACL LOAD`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
from pathlib import Path

PLACEHOLDER = "#" + "0" * 64  # the hash of nothing known: nobody gets in with it
OFF = "off"


def users_in(text: str) -> list[str]:
    """The users of an ACL file that may log in."""
    rules = [line.split() for line in text.splitlines() if line.strip()]
    return [words[1] for words in rules if OFF not in words]


def hash_of(password: str) -> str:
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def with_password(line: str, hashed: str) -> str:
    """The user's line with one more password, and without the placeholder."""
    words = [word for word in line.split(" ") if word not in (PLACEHOLDER, hashed)]
    return " ".join([*words[:3], hashed, *words[3:]])


def without_older(line: str, hashed: str) -> str:
    """The user's line with this one password."""
    words = [word for word in line.split(" ") if not word.startswith("#")]
    return " ".join([*words[:3], hashed, *words[3:]])


def replace_file(path: Path, text: str) -> None:
    """As a whole or not at all, with the rights and the owner that it had."""
    fresh = path.with_suffix(".new")
    before = path.stat()
    fresh.write_text(text, "utf-8")
    fresh.chmod(before.st_mode)
    if hasattr(os, "chown"):
        os.chown(fresh, before.st_uid, before.st_gid)
    fresh.replace(path)


def write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def main(words: list[str]) -> int:
    options = argparse.ArgumentParser(description="Give users of an ACL file new random passwords.")
    options.add_argument("acl", type=Path, help="the ACL file, which is changed")
    options.add_argument("users", nargs="*", help="default: all who may log in")
    options.add_argument("--out", type=Path, required=True, help="directory of the passwords")
    options.add_argument("--url", help="what REDIS_URL should be, with {user} and {password}")
    options.add_argument("--retire", action="store_true", help="end all but the newest password")
    asked = options.parse_intermixed_args(words)
    text = asked.acl.read_text("utf-8")
    known = users_in(text)
    if strangers := sorted(set(asked.users) - set(known)):
        sys.exit(f"{asked.acl}: no such users: {', '.join(strangers)}; known: {', '.join(known)}")
    asked.out.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = text.splitlines()
    for user in asked.users or known:
        at = next(at for at, line in enumerate(lines) if line.split()[:2] == ["user", user])
        file = asked.out / f"{user}.password"
        if asked.retire:
            lines[at] = without_older(lines[at], hash_of(file.read_text("utf-8").strip()))
        else:
            password = secrets.token_urlsafe(32)
            write_secret(file, password)
            if asked.url:
                url = asked.url.replace("{user}", user).replace("{password}", password)
                write_secret(asked.out / f"{user}.env", f"REDIS_URL={url}")
            lines[at] = with_password(lines[at], hash_of(password))
        print(f"{user}: {'older passwords ended' if asked.retire else file}")  # noqa: T201
    replace_file(asked.acl, "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
