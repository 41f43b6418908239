"""The flow of a request: who asks, from where it can be answered, who is asked, what is kept and written down.

``Gateway.handle`` answers a request of the data plane (``pipeline`` tells the story of a chat request, ``vectors`` of
embeddings, ``side`` of the rest); ``Repeater.whole`` answers a repeated one from its raw bytes before ASGI begins.
"""

from ostinato.gateway.gateway import Gateway
from ostinato.gateway.repeat import Repeater, Tried
from ostinato.gateway.replies import Header, Renderer, Reply, StreamReply, lines_of
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.settings import Settings
from ostinato.gateway.snapshots import Epoch
from ostinato.gateway.turn import Operation

__all__ = [
    "Epoch",
    "Gateway",
    "Header",
    "Operation",
    "Renderer",
    "Repeater",
    "Reply",
    "Rooms",
    "Settings",
    "StreamReply",
    "Tried",
    "lines_of",
]
