"""`Idempotency-Key`: one key of one token stands for one request, at every gateway."""

from __future__ import annotations

import hashlib
import re

from mt5relay_gateway.http.call import Call
from mt5relay_gateway.http.problems import Refusal

KEY_PATTERN = r'^("[!#-~]{1,128}"|[!#-~]{1,128})$'

_KEY = re.compile(r'(?:"([!#-~]{1,128})"|([!#-~]{1,128}))\Z')


def request_id_of(call: Call, about: str = "") -> str | None:
    """The request id that the caller's key stands for; None where there is no key.

    `about` tells apart the requests of one call.

    The worker's side does the rest: a request id is answered once, and another question under
    the same id is refused.

    Raises:
        Refusal: the key is malformed.
    """
    given = call.headers.get("idempotency-key")
    if given is None:
        return None
    match = _KEY.match(given)
    if match is None:
        raise Refusal("MALFORMED", "idempotency-key: it must be 1 to 128 visible ASCII characters")
    key = match[1] or match[2]
    digest = hashlib.sha256(f"{call.caller.id}\n{key}\n{about}".encode()).hexdigest()
    return f"key-{digest[:40]}"
