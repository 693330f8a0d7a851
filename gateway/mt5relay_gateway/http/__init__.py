"""The HTTP gateway. Needs the extra `http`; the tokens alone do not.

```python
relay = http_app()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with running(relay):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/mt5", relay)
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mt5relay_gateway.http.app import http_app, running
    from mt5relay_gateway.http.settings import HttpSettings

__all__ = ["HttpSettings", "http_app", "running"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as imported; late, because it needs the extra
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mt5relay_gateway.http import app  # noqa: PLC0415

    return getattr(app, name)
