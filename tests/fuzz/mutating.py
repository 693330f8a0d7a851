"""Makes hostile bytes out of valid ones: the same seed makes the same bytes.

Most of what it makes is still JSON, so that it gets past the first check and reaches the next; the
rest is what no JSON writer would write.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias, cast

from mt5relay_shared.messages import MAX_REQUEST_BYTES


@dataclass(frozen=True)
class Token:
    """What stands in the JSON as it is, be it JSON or not."""

    text: bytes


@dataclass
class Fields:
    """An object as the pairs in which it is written: a name may stand there twice."""

    pairs: list[tuple[str, Node]]


Node: TypeAlias = Fields | list["Node"] | Token | str | int | float | bool | None

DEEP = 2_000  # levels; the decoder gives up at about half
HOSTILE: tuple[Node, ...] = (
    *(None, True, False, 0, -1, 1, 1.0, 1.5, -0.0, 1e308, 5e-324),
    *(2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**300),
    *("", " ", "x", "x" * 65, "x" * 5_000, "\0", "\n", "\u202e", "\U0001f600", "é" * 64),
    *("1", "-1", "1e400", "NaN", "null", "true", "0x10", "\u0663", "1_000"),
    *("0@x", "1@", "@", "1@S@T", "01@S", "1@" + "s" * 64, "99999999999999999999@S", "1@ S"),
    *("{mt5:main}:lease", "../../x", "%00", "' OR 1=1", "*", "a b", "a:b", "a\r\nb"),
    *(Fields([]), Fields([("x", 1)]), cast("Node", []), cast("Node", [[]]), cast("Node", [1, 2])),
    *(Token(b"NaN"), Token(b"Infinity"), Token(b"-Infinity"), Token(b"1e999"), Token(b"-")),
    *(Token(b"01"), Token(b"9" * 5_000), Token(b"1." + b"0" * 5_000), Token(b"1e-9999")),
    *(Token(b'"\xff"'), Token(b'"\xed\xa0\x80"'), Token(b'"\\ud800"'), Token(b'"\\u0000"')),
    *(Token(b'"\\x"'), Token(b"'x'"), Token(b'"\n"'), Token(b"tru"), Token(b""), Token(b",")),
    *(Token(b"[" * DEEP + b"]" * DEEP), Token(b'{"x":' * DEEP + b"1" + b"}" * DEEP)),
    *(Token(b"[" * DEEP), Token(b"/*x*/1"), Token(b"1 2"), Token(b"\xef\xbb\xbf1")),
)
SNIPPETS = (b"\0", b"\xff", b"{", b"}", b"[", b'"', b"\\", b",", b":", b"\n", b"\xef\xbb\xbf")


def hostile_json(random: Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds, changed in a few places; now and then not at all."""
    tree = _tree(random.choice(seeds))
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        _change(random, tree)
    body = written(tree)
    return hostile_bytes(random, body) if random.randrange(6) == 0 else body


def hostile_bytes(random: Random, body: bytes) -> bytes:
    """The bytes with a piece cut out, doubled, turned or put in."""
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randint(0, len(body))
        match random.randrange(6):
            case 0:
                body = body[:at]
            case 1:
                body = body[:at] + random.choice(SNIPPETS) + body[at:]
            case 2:
                body = body[:at] + body[at + random.randint(1, 8) :]
            case 3 if at < len(body):
                body = body[:at] + bytes([body[at] ^ 1 << random.randrange(8)]) + body[at + 1 :]
            case 4:
                body = body + body[:at]
            case _:
                body = body[:at] + random.randbytes(random.randint(0, 16)) + body[at:]
    return body[: 8 * MAX_REQUEST_BYTES]


def hostile_text(random: Random, seeds: Sequence[str]) -> str:
    """A text field of a hash: one of the seeds, something hostile, or a mixture."""
    text = random.choice(seeds)
    match random.randrange(4):
        case 0:
            return text
        case 1:
            found = random.choice(HOSTILE)
            return found if isinstance(found, str) else written(found).decode(errors="replace")
        case _:
            return hostile_bytes(random, text.encode()).decode(errors="replace")


def _tree(seed: bytes) -> Node:
    return cast("Node", json.loads(seed, object_pairs_hook=Fields))


def _places(node: Node) -> list[tuple[Any, int]]:
    """Every container and index at which a node stands."""
    found: list[tuple[Any, int]] = []
    inner = [child for _, child in node.pairs] if isinstance(node, Fields) else node
    if isinstance(inner, list):
        for index, child in enumerate(inner):
            found.append((node, index))
            found += _places(child)
    return found


def _change(random: Random, tree: Node) -> None:
    places = _places(tree)
    if not places:
        return
    parent, index = random.choice(places)
    if isinstance(parent, Fields):
        _change_field(random, parent, index)
    else:
        parent[index] = _hostile(random)


def _hostile(random: Random) -> Node:
    return copy.deepcopy(random.choice(HOSTILE))  # it may be changed in its turn


def _change_field(random: Random, parent: Fields, index: int) -> None:
    name, value = parent.pairs[index]
    match random.randrange(8):
        case 0:
            del parent.pairs[index]
        case 1:
            parent.pairs.append((name, _hostile(random)))
        case 2:
            parent.pairs[index] = (random.choice(("", "id", "\0", "k" * 500, name + "x")), value)
        case 3:
            parent.pairs[index] = (name, [value])
        case _:
            parent.pairs[index] = (name, _hostile(random))


def written(node: Node) -> bytes:
    """As JSON, but for its tokens."""
    match node:
        case Token(text):
            return text
        case Fields(pairs):
            fields = (json.dumps(name).encode() + b":" + written(one) for name, one in pairs)
            return b"{" + b",".join(fields) + b"}"
        case list():
            return b"[" + b",".join(map(written, node)) + b"]"
        case int() if not isinstance(node, bool):
            return b"%d" % node
        case _:
            return json.dumps(node).encode()
