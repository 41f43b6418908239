"""Chains: query template -> (model call) -> retriever -> answer template.

``Retrieval.check(variant)`` judges a variant's chain before anything is spent; ``await Retrieval.prepare(variant,
example, ask=...)`` gives the variables that its prompt is filled in with and what was retrieved, for the retrieval
scorers. Retrievers are declared in the configuration: passages of a file, another server, or a Python function. What
was found is cached by query, retriever and index version.
"""

from ostinato.evals.retrieval.model import Ask, Chain, Prepared, Retriever, Rewrite
from ostinato.evals.retrieval.retrieval import Retrieval, read

__all__ = ["Ask", "Chain", "Prepared", "Retrieval", "Retriever", "Rewrite", "read"]
