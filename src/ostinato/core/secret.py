"""Secrets that are handed on: shown nowhere by accident."""


class ApiKey:
    """A secret that does not show itself: masked in every ``repr``, ``str`` and format, refused by encoders."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def reveal(self) -> str:
        """The secret itself, for the header that carries it and for nothing else."""
        return self._secret

    def __repr__(self) -> str:
        return "ApiKey(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiKey) and other._secret == self._secret

    def __hash__(self) -> int:
        return hash(("ApiKey", self._secret))

    def __bool__(self) -> bool:
        return bool(self._secret)
