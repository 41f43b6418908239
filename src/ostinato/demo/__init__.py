"""A demonstration on real input: a bank's customers ask, a local model names their intent, the gateway repeats.

``task`` holds what later measurements share: the questions, the eight intents, the prompt and the scorer.
``traffic`` draws seeded Zipf traffic from the questions, ``child`` runs ``ostinato serve`` with a configuration of its
own, ``replay`` sends the traffic through the ``openai`` SDK, ``report`` prints what came of it.
``python -m ostinato.demo`` does it all.

The room stands beside ``cli`` and knows no other room: it uses the gateway as any client does.
"""

from ostinato.demo import task, traffic

__all__ = ["task", "traffic"]
