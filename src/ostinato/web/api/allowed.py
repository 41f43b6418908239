"""What may stand in a place of a request where one of a few words is wanted: told to whoever wrote another one."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar.handlers import BaseRouteHandler

_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")
_MOST = 30


def hint(handler: BaseRouteHandler, place: str) -> str:
    """``; allowed: a, b`` for a ``place`` such as ``items[0].origin`` of a handler's body or parameters; else empty."""
    fields = handler.parsed_fn_signature.parameters
    steps = _STEP.findall(place)
    if steps and steps[0] != "data" and steps[0] in fields:
        root, steps = fields[steps[0]], steps[1:]
    elif "data" in fields:
        root = fields["data"]
    else:
        return ""
    try:
        kinds = [msgspec.inspect.type_info(root.annotation)]
    except Exception:  # a shape that msgspec does not read: the message stands without the list
        return ""
    for step in steps:
        kinds = [below for kind in kinds for below in _below(kind, step)]
    words = list(dict.fromkeys(str(word) for kind in kinds for word in _words(kind)))
    return f"; allowed: {', '.join(words[:_MOST])}" if words else ""


def _below(kind: msgspec.inspect.Type, step: str) -> Iterator[msgspec.inspect.Type]:
    for one in _plain(kind):
        if isinstance(one, msgspec.inspect.StructType):
            yield from (field.type for field in one.fields if step in (field.encode_name, field.name))
        elif isinstance(one, msgspec.inspect.ListType | msgspec.inspect.VarTupleType | msgspec.inspect.SetType):
            yield one.item_type
        elif isinstance(one, msgspec.inspect.TupleType):
            yield from one.item_types
        elif isinstance(one, msgspec.inspect.DictType):
            yield one.value_type


def _words(kind: msgspec.inspect.Type) -> Iterable[Any]:
    for one in _plain(kind):
        if isinstance(one, msgspec.inspect.LiteralType):
            yield from one.values
        elif isinstance(one, msgspec.inspect.EnumType):
            yield from (member.value for member in one.cls)


def _plain(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    if isinstance(kind, msgspec.inspect.UnionType):
        for one in kind.types:
            yield from _plain(one)
    elif isinstance(kind, msgspec.inspect.Metadata):
        yield from _plain(kind.type)
    else:
        yield kind
