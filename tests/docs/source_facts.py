"""What the source says of itself: log events, exit statuses, kinds of settings. Read, not run."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway/mt5relay_gateway", "worker/mt5relay_worker", "shared/mt5relay_shared")
LEVELS = {
    "debug": "debug", "info": "info", "warning": "warning",
    "error": "error", "exception": "error", "critical": "critical",
}  # fmt: skip
LOGGER_MAKERS = {"get_logger", "getLogger"}
OPEN_FIELDS = "…"  # the call passes a mapping on

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """A module: its dotted name and its tree."""

    module: str
    tree: ast.Module


@dataclass(frozen=True)
class LogEvent:
    """An event of the logs; `fields` are those that its calls name."""

    name: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]
    modules: tuple[str, ...]


class Said(NamedTuple):
    """One place that logs."""

    name: str
    level: str
    fields: tuple[str, ...]
    module: str


@cache
def sources() -> tuple[Source, ...]:
    return tuple(_parsed())


def _parsed() -> Iterator[Source]:
    for package in PACKAGES:
        base = ROOT / package
        for path in sorted(base.rglob("*.py")):
            words = path.relative_to(base.parent).with_suffix("").parts
            module = ".".join(word for word in words if word != "__init__")
            yield Source(module, ast.parse(path.read_text("utf-8"), str(path)))


@cache
def log_events() -> list[LogEvent]:
    """Every event that any module logs, by name."""
    found: defaultdict[str, list[Said]] = defaultdict(list)
    for source in sources():
        for said in _said_in(source):
            for name in _kinds_of(said.name):
                found[name].append(said)
    return [
        LogEvent(
            name,
            _distinct(one.level for one in all_said),
            _distinct(field for one in all_said for field in one.fields),
            _distinct(one.module for one in all_said),
        )
        for name, all_said in sorted(found.items())
    ]


def _kinds_of(name: str) -> list[str]:
    if "<kind>" not in name:
        return [name]
    return [name.replace("<kind>", kind) for kind in sorted(event_kinds())]


def _distinct(words: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _said_in(source: Source) -> Iterator[Said]:
    loggers = set(_loggers(source.tree))
    for function, call in _calls(source.tree):
        level, words, keywords = _logging(call, loggers)
        if level is None:
            continue
        fields = tuple(name for one in keywords for name in _fields(one, function, source))
        if not words:
            raise ValueError(f"{source.module}:{call.lineno}: a log call without an event")
        for name, more in _names(words[0], function, source):
            yield Said(name, level, (*fields, *more), source.module)


def _loggers(tree: ast.Module) -> Iterator[str]:
    """Variables of the module that hold a logger."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call(func=maker)):
                name = maker.attr if isinstance(maker, ast.Attribute) else _name_of(maker)
                if name in LOGGER_MAKERS:
                    yield variable
            case _:
                pass


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _calls(tree: ast.Module) -> Iterator[tuple[Function | None, ast.Call]]:
    """Every call, with the function in which it stands."""

    def walk(
        node: ast.AST, function: Function | None
    ) -> Iterator[tuple[Function | None, ast.Call]]:
        inside = node if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(node, ast.Call):
            yield function, node
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    return walk(tree, None)


def _logging(
    call: ast.Call, loggers: set[str]
) -> tuple[str | None, list[ast.expr], list[ast.keyword]]:
    """The level, the words and the fields of a call that logs, `partial(log.info, …)` included."""
    level = _level_of(call.func, loggers)
    if level is not None:
        return level, call.args, call.keywords
    if _name_of(call.func) == "partial" and call.args:
        return _level_of(call.args[0], loggers), call.args[1:], call.keywords
    return None, [], []


def _level_of(node: ast.expr, loggers: set[str]) -> str | None:
    match node:
        case ast.Attribute(value=ast.Name(id=variable), attr=method) if variable in loggers:
            return LEVELS.get(method)
        case _:
            return None


def _fields(keyword: ast.keyword, function: Function | None, source: Source) -> Iterator[str]:
    """The fields that one argument adds; `**fields` is looked up where it is made."""
    match keyword:
        case ast.keyword(arg="exc_info"):
            return
        case ast.keyword(arg="extra", value=ast.Dict() as made):
            yield from _keys_of(made)
        case ast.keyword(arg=str(name)):
            yield name
        case ast.keyword(value=ast.Name(id=variable)) if function is not None:
            if function.args.kwarg is None or function.args.kwarg.arg != variable:
                yield from _made_in(function, variable)
        case ast.keyword(value=ast.Call(func=ast.Name(id=name))):
            yield from _returned_by(name, source)
        case _:
            yield OPEN_FIELDS


def _made_in(function: Function, variable: str) -> Iterator[str]:
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as made) if (
                name == variable
            ):
                yield from _keys_of(made)
                return
            case _:
                pass
    yield OPEN_FIELDS


def _returned_by(name: str, source: Source) -> Iterator[str]:
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            for inside in ast.walk(node):
                if isinstance(inside, ast.Return) and isinstance(inside.value, ast.Dict):
                    yield from _keys_of(inside.value)
                    return
    yield OPEN_FIELDS


def _keys_of(made: ast.Dict) -> Iterator[str]:
    for key in made.keys:
        yield str(key.value) if isinstance(key, ast.Constant) else OPEN_FIELDS


def _names(
    event: ast.expr, function: Function | None, source: Source
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names that an event's expression stands for, with fields that its callers add.

    A name that a function was told is looked for at the function's callers in the same module.
    """
    match event:
        case ast.Constant(value=str(name)):
            yield name, ()
        case ast.Name(id=parameter) if function is not None:
            yield from _told(parameter, function, source)
        case ast.JoinedStr(values=parts):
            yield from _joined(parts, function, source)
        case _:
            raise ValueError(f"{source.module}:{event.lineno}: an event that can't be read")


def _joined(
    parts: list[ast.expr], function: Function | None, source: Source
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names of an f-string; a part that is not a parameter stays, in angle brackets."""
    texts = [one.value if isinstance(one, ast.Constant) else None for one in parts]
    (value,) = [one.value for one in parts if isinstance(one, ast.FormattedValue)]
    options: list[tuple[str, tuple[str, ...]]] = []
    if isinstance(value, ast.Name) and function is not None:
        options = list(_told(value.id, function, source))
    if not options:
        constants = [str(one.value) for one in ast.walk(value) if isinstance(one, ast.Constant)]
        options = [(f"<{[*constants, 'name'][0]}>", ())]
    for name, fields in options:
        yield "".join(name if text is None else str(text) for text in texts), fields


def _told(
    parameter: str, function: Function, source: Source
) -> Iterator[tuple[str, tuple[str, ...]]]:
    names = [one.arg for one in function.args.args if one.arg != "self"]
    if parameter not in names:
        raise ValueError(f"{source.module}:{function.lineno}: {parameter} is not a parameter")
    place = names.index(parameter)
    known = {*names, *(one.arg for one in function.args.kwonlyargs)}
    for _, call in _calls(source.tree):
        called = call.func.attr if isinstance(call.func, ast.Attribute) else _name_of(call.func)
        if called == function.name and len(call.args) > place:
            match call.args[place]:
                case ast.Constant(value=str(name)):
                    given = (one.arg for one in call.keywords if one.arg not in known)
                    yield name, tuple(one or OPEN_FIELDS for one in given)
                case _:
                    raise ValueError(f"{source.module}:{call.lineno}: an event that can't be read")


def exit_statuses() -> dict[str, int]:
    """`module.NAME` of every constant that a command ends with."""
    found: dict[str, int] = {}
    for module, tree in sources():
        is_table = module.endswith(".cli.exits")
        for node in tree.body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)], value=ast.Constant(value=int(status))
                ) if is_table or name.startswith("EXIT_"):
                    found[f"{module}.{name}"] = status
                case _:
                    pass
    return found


def settings_classes() -> set[str]:
    """Names of the classes that are read from the environment."""
    known = {"BaseSettings"}
    classes = [
        node for _, tree in sources() for node in tree.body if isinstance(node, ast.ClassDef)
    ]
    while (
        found := {one.name for one in classes if {_name_of(base) for base in one.bases} & known}
        - known
    ):
        known |= found
    return known - {"BaseSettings"}


def event_kinds() -> set[str]:
    """The kinds of events that a worker appends to the stream."""
    return set(_constants_told("Event", 1, "mt5relay_worker"))


def sent_events() -> set[str]:
    """What the HTTP gateway's stream of events says beside the workers' events."""
    return set(_constants_told("message", 0, "mt5relay_gateway.http.events"))


def _constants_told(function: str, place: int, module: str) -> Iterator[str]:
    for source in sources():
        if not source.module.startswith(module):
            continue
        for _, call in _calls(source.tree):
            if _name_of(call.func) == function and len(call.args) > place:
                match call.args[place]:
                    case ast.Constant(value=str(name)):
                        yield name
                    case _:
                        pass
