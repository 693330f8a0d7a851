"""The status page for people, at `/`: files that a browser reads, and the figures only it needs.

Live news come from `/v1/events`, an account's last read from its `snapshot`, as for everybody.
"""

from __future__ import annotations

from mt5relay_gateway.http.page.routes import page_routes

__all__ = ["page_routes"]
