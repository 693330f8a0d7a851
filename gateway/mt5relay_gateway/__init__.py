"""Ask the worker of a MetaTrader 5 terminal about accounts.

```python
async with AccountClient("redis://127.0.0.1:6379/0") as client:
    answer = await client.account_info("25115284@MetaQuotes-Demo", max_age=5.0)
    print(answer.data.equity, answer.data.currency, answer.as_of, answer.source)
```
"""

from mt5relay_gateway.answers import AccountSnapshot, Answer
from mt5relay_gateway.blocking import BlockingAccountClient
from mt5relay_gateway.client import AccountClient
from mt5relay_gateway.composing import AskOptions
from mt5relay_gateway.fleet import FleetClient
from mt5relay_gateway.lookups import AccountLookups
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.errors import (
    AccountUnknownError,
    DeadlineExceededError,
    MT5AuthError,
    MT5CircuitBreakerOpen,
    MT5ConnectionError,
    MT5DataError,
    MT5Error,
    MT5InitError,
    MT5StateError,
    MT5TimeoutError,
    MT5ValidationError,
    NotFoundError,
    NoWorkerError,
    PoisonedRequestError,
    QueueFullError,
    RedisUnavailableError,
)
from mt5relay_shared.health import Health
from mt5relay_shared.operations import Operation

__all__ = [
    "AccountClient",
    "AccountId",
    "AccountLookups",
    "AccountSnapshot",
    "AccountUnknownError",
    "Answer",
    "AskOptions",
    "BlockingAccountClient",
    "DeadlineExceededError",
    "FleetClient",
    "Health",
    "MT5AuthError",
    "MT5CircuitBreakerOpen",
    "MT5ConnectionError",
    "MT5DataError",
    "MT5Error",
    "MT5InitError",
    "MT5StateError",
    "MT5TimeoutError",
    "MT5ValidationError",
    "NoWorkerError",
    "NotFoundError",
    "Operation",
    "PoisonedRequestError",
    "QueueFullError",
    "RedisUnavailableError",
]
