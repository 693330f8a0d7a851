"""The records on the terminal's pipe: little-endian, packed, texts in fixed slots of UTF-16.

Layouts as observed with package 5.0.6231; 5.0.45, 5.0.4288, 5.0.5120 and 5.0.5735 agree.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from mt5relay_worker.simulator.pipe.errors import CodecError

Value = int | float | bool | str

_NUMBERS: Final = {"u32": "I", "i64": "q", "u64": "Q", "f64": "d", "bool": "?"}


class Layout:
    """One record: `fields` are (name, type), in their order on the pipe.

    A type is u32, i64, u64, f64, bool, or text:N for a slot of N bytes whose last unit is a NUL.
    What a field with a leading underscore means is not known; it is sent as 0 and not read.
    """

    def __init__(self, name: str, fields: str) -> None:
        self.name = name
        self.fields = tuple(_parse(fields))
        codes = (_NUMBERS.get(kind) or f"{_slot(kind)}s" for _, kind in self.fields)
        self._struct = struct.Struct("<" + "".join(codes))
        self._slots = {
            at: _slot(kind) for at, (_, kind) in enumerate(self.fields) if kind not in _NUMBERS
        }

    @property
    def size(self) -> int:
        """Bytes of one record."""
        return self._struct.size

    def places(self) -> Iterator[tuple[str, str, int, int]]:
        """Name, type, offset and bytes of every field."""
        offset = 0
        for name, kind in self.fields:
            width = struct.calcsize(f"<{_NUMBERS[kind]}") if kind in _NUMBERS else _slot(kind)
            yield name, kind, offset, width
            offset += width

    def encode(self, record: object) -> bytes:
        """The bytes of an object that has the fields as attributes.

        A text that is too long is cut.

        Raises:
            CodecError: a field is missing, or does not fit its type.
        """
        try:
            values = [self._value(record, name) for name, _ in self.fields]
            for at, slot in self._slots.items():
                values[at] = fill_slot(values[at], slot)
            return self._struct.pack(*values)
        except (AttributeError, TypeError, UnicodeError, OverflowError, struct.error) as error:
            raise CodecError(f"{self.name} can't be sent: {error}") from error

    @staticmethod
    def _value(record: object, name: str) -> object:
        return 0 if name.startswith("_") else getattr(record, name)

    def decode(self, data: bytes) -> Mapping[str, Value]:
        """The fields by name.

        Raises:
            CodecError: the size is not that of this record, or a text is not UTF-16.
        """
        if len(data) != self.size:
            raise CodecError(f"{self.name} has {self.size} bytes, not {len(data)}")
        values = list(self._struct.unpack(data))
        for at in self._slots:
            values[at] = read_slot(values[at])
        named = zip((name for name, _ in self.fields), values, strict=True)
        return {name: value for name, value in named if not name.startswith("_")}

    def encode_list(self, records: Collection[object]) -> bytes:
        """A list as the pipe has it: how many, then the records."""
        encoded = b"".join(self.encode(record) for record in records)
        return struct.pack("<I", len(records)) + encoded

    def decode_list(self, data: bytes) -> list[Mapping[str, Value]]:
        """The records of a list.

        Raises:
            CodecError: the length is not what its count says.
        """
        if len(data) < 4 or len(data) - 4 != struct.unpack_from("<I", data)[0] * self.size:
            raise CodecError(f"a list of {self.name} has another length than its count says")
        return [self.decode(data[at : at + self.size]) for at in range(4, len(data), self.size)]

    def __repr__(self) -> str:
        return f"<Layout {self.name}, {self.size} bytes>"


def fill_slot(text: object, slot: int) -> bytes:
    """A text in a slot of so many bytes: it ends at a NUL and is cut between characters.

    Raises:
        TypeError: it is no text.
        UnicodeError: it has half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise TypeError(f"a text was expected, not a {type(text).__name__}")
    units = text.partition("\0")[0].encode("utf-16-le")[: slot - 2]
    return units.decode("utf-16-le", "ignore").encode("utf-16-le").ljust(slot, b"\0")


def read_slot(slot: bytes) -> str:
    """The text in a slot, up to its first NUL.

    Raises:
        CodecError: it is not UTF-16.
    """
    units = [slot[at : at + 2] for at in range(0, len(slot), 2)]
    end = units.index(b"\0\0") if b"\0\0" in units else len(units)
    try:
        return slot[: end * 2].decode("utf-16-le")
    except UnicodeError:
        raise CodecError("a text is not UTF-16") from None


def _parse(fields: str) -> list[tuple[str, str]]:
    """`u32 a b; f64 c` is a and b as u32, then c as f64."""
    runs = [run.split() for run in fields.split(";")]
    return [(name, run[0]) for run in runs for name in run[1:]]


def _slot(kind: str) -> int:
    return int(kind.removeprefix("text:"))


ACCOUNT_INFO: Final = Layout(
    "AccountInfo",
    """
    u64 login; u32 trade_mode leverage limit_orders margin_so_mode; bool trade_allowed
    trade_expert; u32 margin_mode currency_digits; bool fifo_close; f64 balance credit profit
    equity margin margin_free margin_level margin_so_call margin_so_so margin_initial
    margin_maintenance assets liabilities commission_blocked; text:256 name; text:128 server;
    text:64 currency; text:256 company
    """,
)

TERMINAL_INFO: Final = Layout(
    "TerminalInfo",
    """
    u32 build; bool community_account community_connection connected dlls_allowed
    trade_allowed email_enabled ftp_enabled notifications_enabled; u32 maxbars; bool mqid; u32
    codepage ping_last; f64 community_balance retransmission; text:520 company name language
    path data_path commondata_path; bool tradeapi_disabled
    """,
)

TICK: Final = Layout(
    "Tick",
    """
    i64 time; f64 bid ask last; u64 volume; i64 time_msc; u32 flags; f64 volume_real
    """,
)

RATE: Final = Layout(
    "Rate",
    """
    i64 time; f64 open high low close; u64 tick_volume; u32 spread; u64 real_volume
    """,
)

TRADE_POSITION: Final = Layout(
    "TradePosition",
    """
    u64 ticket; i64 time time_msc time_update time_update_msc; u32 type; u64 magic identifier;
    u32 reason; f64 volume price_open sl tp price_current _commission swap profit; text:64
    symbol comment external_id
    """,
)

TRADE_ORDER: Final = Layout(
    "TradeOrder",
    """
    u64 ticket; i64 time_setup time_setup_msc time_done time_done_msc time_expiration; u32
    type type_time type_filling state; u64 magic position_id position_by_id; u32 reason; f64
    volume_initial volume_current price_open sl tp price_current price_stoplimit; text:64
    symbol comment external_id
    """,
)

TRADE_DEAL: Final = Layout(
    "TradeDeal",
    """
    u64 ticket order; i64 time time_msc; u32 type entry; u64 magic position_id; u32 reason;
    f64 volume price commission swap profit fee; text:64 symbol comment external_id
    """,
)

SYMBOL_INFO: Final = Layout(
    "SymbolInfo",
    """
    bool custom; u32 chart_mode; bool select visible; u64 session_deals session_buy_orders
    session_sell_orders volume volumehigh volumelow; i64 time; u32 digits spread; bool
    spread_float; u32 ticks_bookdepth trade_calc_mode trade_mode; i64 start_time
    expiration_time; u32 trade_stops_level trade_freeze_level trade_exemode swap_mode
    swap_rollover3days; bool margin_hedged_use_leg; u32 expiration_mode filling_mode
    order_mode order_gtc_mode option_mode option_right; f64 bid bidhigh bidlow ask askhigh
    asklow last lasthigh lastlow volume_real volumehigh_real volumelow_real option_strike
    point trade_tick_value trade_tick_value_profit trade_tick_value_loss trade_tick_size
    trade_contract_size trade_accrued_interest trade_face_value trade_liquidity_rate
    volume_min volume_max volume_step volume_limit swap_long swap_short margin_initial
    margin_maintenance session_volume session_turnover session_interest
    session_buy_orders_volume session_sell_orders_volume session_open session_close session_aw
    session_price_settlement session_price_limit_min session_price_limit_max margin_hedged
    price_change price_volatility price_theoretical price_greeks_delta price_greeks_theta
    price_greeks_gamma price_greeks_vega price_greeks_rho price_greeks_omega
    price_sensitivity; text:64 basis; text:128 category; text:32 currency_base currency_profit
    currency_margin; text:512 bank; text:128 description exchange; text:512 formula; text:32
    isin; text:512 page; text:256 path; text:64 name
    """,
)

ORDER_CHECK_RESULT: Final = Layout(
    "OrderCheckResult",
    """
    u32 retcode; f64 balance equity profit margin margin_free margin_level; text:200 comment
    """,
)

ORDER_SEND_RESULT: Final = Layout(
    "OrderSendResult",
    """
    u32 retcode; u64 deal order; f64 volume price bid ask; text:200 comment; u32 request_id
    retcode_external
    """,
)

TRADE_REQUEST: Final = Layout(
    "TradeRequest",
    """
    u32 action; u64 magic order; text:64 symbol; f64 volume price stoplimit sl tp; u64
    deviation; u32 type type_filling type_time; i64 expiration; text:64 comment; u64 position
    position_by
    """,
)

BOOK_INFO: Final = Layout(
    "BookInfo",
    """
    u32 type; f64 price; u64 volume; f64 volume_dbl
    """,
)

RECORDS: Final = (
    ACCOUNT_INFO,
    TERMINAL_INFO,
    TICK,
    RATE,
    TRADE_POSITION,
    TRADE_ORDER,
    TRADE_DEAL,
    SYMBOL_INFO,
    ORDER_CHECK_RESULT,
    ORDER_SEND_RESULT,
    TRADE_REQUEST,
    BOOK_INFO,
)
