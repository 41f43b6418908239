"""What a recorded call did cost: by the price list, under the name of whoever's model it was."""

from ostinato.traces import PriceBook
from ostinato.wire.model import Usage

_ALIKE = {
    "az": "openai",
    "azure": "openai",
    "azure_openai": "openai",
    "gcp": "google",
    "gemini": "google",
    "vertex_ai": "google",
    "mistral_ai": "mistral",
    "x_ai": "xai",
}
_OWNERS = ("openai", "anthropic", "google", "mistral", "deepseek", "groq", "xai")
_LATER = 4_102_444_800_000_000
"""2100: every tariff that is known holds by then."""
_REMEMBERED = 10_000


class Pricing:
    """Finds the tariff of a model whose provider is told loosely or not at all."""

    def __init__(self, prices: PriceBook) -> None:
        self._prices = prices
        self._found: dict[tuple[str, str, str], tuple[str, str] | None] = {}

    def cost(self, provider: str, asked: str, answered: str, usage: Usage, at: int) -> int | None:
        """Nano-dollars; ``None``: no price is known for that time."""
        name = provider, asked, answered
        if name not in self._found:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[name] = self._look(*name)
        found = self._found[name]
        return None if found is None else self._prices.price(*found, usage, at)

    def _look(self, provider: str, asked: str, answered: str) -> tuple[str, str] | None:
        known = provider.lower()
        for model in (asked, answered):
            outer, slash, inner = model.partition("/")
            names = [(known, model), (_ALIKE.get(known, known), model)]
            if slash:
                names += [(outer.lower(), inner), (_ALIKE.get(outer.lower(), outer.lower()), inner)]
            names += [(owner, inner if slash else model) for owner in _OWNERS]
            for name in names:
                if all(name) and self._prices.price(*name, Usage(input=1), _LATER) is not None:
                    return name
        return None
