"""Settings of our own calls: ``[calls]``."""

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in seconds."""

    concurrency: int = 8
    """Calls at once, of all runs and experiments of this process together."""
    waiting: int = 10_000
    """Calls that may wait for a place."""
    answer_tokens: int = 1024
    """What an answer may take at most where the prompt does not say: a budget needs a bound."""
    largest_answer: int = 1_048_576
    """Bytes of an answer in the journal; a longer one was paid for, and is not used."""
    patience: float = 900.0
    """How long a model that does not answer is asked again."""
    backoff: float = 0.5
    """Before the second try; doubled for each further one."""
    backoff_longest: float = 30.0
