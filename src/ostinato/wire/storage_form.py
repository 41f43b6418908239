"""An answer as bytes for the cache: MessagePack of the events."""

import msgspec

from ostinato.wire.jsons import DECODE_ERRORS
from ostinato.wire.model import Answer

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Answer)
_JSON_ENCODER = msgspec.json.Encoder()
_JSON_DECODER = msgspec.json.Decoder(Answer)
_JSON_MARK = b"\xc1"
"""The one byte that MessagePack never uses."""


def encode_answer(answer: Answer) -> bytes:
    """The stored form. An answer with integers beyond 64 bits, which MessagePack lacks, is stored as marked JSON."""
    try:
        return _ENCODER.encode(answer)
    except OverflowError:
        return _JSON_MARK + _JSON_ENCODER.encode(answer)


def decode_answer(data: bytes) -> Answer:
    """The answer that :func:`encode_answer` stored. Raises ``ValueError`` on anything else."""
    try:
        if data[:1] == _JSON_MARK:
            return _JSON_DECODER.decode(data[1:])
        return _DECODER.decode(data)
    except DECODE_ERRORS as error:
        raise ValueError("These bytes are no stored answer.") from error
