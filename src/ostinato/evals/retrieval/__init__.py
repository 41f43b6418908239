"""Chains: query template -> (model call) -> retriever -> answer template.

``Retrieval.check(variant)`` judges a variant's chain before anything is spent; ``await Retrieval.prepare(variant,
example, ask=...)`` gives the variables that its prompt is filled in with and what was retrieved, for the retrieval
scorers. ``build`` makes the retrievers that the configuration declares: passages of a file, another server, or a Python
function. What was found is cached by query, retriever and index version.
"""

from ostinato.evals.retrieval.cache import Counts, RetrievalCache
from ostinato.evals.retrieval.function import Function
from ostinato.evals.retrieval.model import Ask, Chain, Prepared, Retriever, Rewrite
from ostinato.evals.retrieval.passages import Line, Passages
from ostinato.evals.retrieval.remote import Remote
from ostinato.evals.retrieval.retrieval import Retrieval, build, read
from ostinato.evals.retrieval.settings import Settings

__all__ = [
    "Ask",
    "Chain",
    "Counts",
    "Function",
    "Line",
    "Passages",
    "Prepared",
    "Remote",
    "Retrieval",
    "RetrievalCache",
    "Retriever",
    "Rewrite",
    "Settings",
    "build",
    "read",
]
