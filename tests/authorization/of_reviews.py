"""Objects of reviews: see ``objects``."""

from collections.abc import Callable
from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, fixed, person

from ostinato.reviews import Content, Declaration, NewItem, NewVerdict, Output


def _item(plane: Plane, **more: Any) -> NewItem:
    content = Content(input_text=f"question {counted(plane)}", outputs=(Output(text="an answer"),))
    return NewItem(content=content, evidence={"judge": 0.5}, **more)


async def queue(plane: Plane, tenant: str, _: Made) -> str:
    """A queue with an item that waits, and one that was approved."""
    name = f"made-{counted(plane)}"
    author, other = await person(plane, tenant, "author"), await person(plane, tenant, "approver")
    await plane.app.reviews.declare(author, name, Declaration())
    _, second = await plane.app.reviews.put(author, name, [_item(plane), _item(plane)])
    await plane.app.reviews.decide(other, second.id, NewVerdict(decision="approve"))
    return name


async def item(plane: Plane, tenant: str, _: Made) -> str:
    """An item that waits."""
    name, author = f"made-{counted(plane)}", await person(plane, tenant, "author")
    await plane.app.reviews.declare(author, name, Declaration())
    (made,) = await plane.app.reviews.put(author, name, [_item(plane)])
    return made.id


async def erased(plane: Plane, tenant: str, made: Made) -> Any:
    return {"item": await item(plane, tenant, made), "reason": "The tests need it."}


def _items(plane: Plane, _tenant: str, _made: Made) -> Any:
    content = {"input_text": f"question {counted(plane)}", "outputs": [{"text": "an answer"}]}
    return {"items": [{"content": content}]}


FACTORIES: dict[str, Factory] = {"/reviews/queues/{name:str}": queue, "/reviews/items/{ref:str}": item}

BODIES: dict[str, Body] = {
    "PUT /reviews/queues/{name:str}": fixed({"title": "Changed."}),
    "POST /reviews/queues/{name:str}/items": _items,
    "POST /reviews/queues/{name:str}/next": fixed(None),
    "POST /reviews/queues/{name:str}/dataset": lambda plane, _t, _m: {"dataset": f"made-{counted(plane)}"},
    "POST /reviews/items/{ref:str}/take": fixed(None),
    "POST /reviews/items/{ref:str}/return": fixed(None),
    "POST /reviews/items/{ref:str}/verdict": fixed({"decision": "reject"}),
    "POST /reviews/items/{ref:str}/withdraw": fixed({"reason": "The tests need it."}),
    "POST /reviews/erasures": erased,
}

NAMED_IN_BODY = frozenset({"POST /reviews/erasures"})

ALSO: dict[str, frozenset[int]] = {
    # Whoever asks has not taken what the factory made.
    "POST /reviews/items/{ref:str}/return": frozenset({409}),
    # Real texts take ``reviews:decide`` as well.
    "POST /reviews/queues/{name:str}/dataset": frozenset({403}),
}

LEAVES: dict[str, int] = {"POST /reviews/items/{ref:str}/return": 0}

QUERIES: dict[str, Callable[[Plane, str], str]] = {
    "/reviews/queues": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/reviews/queues/{name:str}/calibration": lambda plane, tenant: f"project={plane.projects[tenant]}&scorer=judge",
}
