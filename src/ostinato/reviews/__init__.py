"""Reviews by people: queues, rubrics, reservations, verdicts, agreement; and answers held until somebody looked.

``Reviews`` carries it out, each change in one transaction with its audit leaf. ``select`` draws what people look at,
with the probability of each, so that estimates from what they saw hold for all. What is decided becomes examples of a
dataset, labels for judges, evidence for a release, and quality signals. ``hold`` keeps an answer from its caller until
it is approved, edited, rejected, or its time is over. Texts are sealed at rest, and can be erased.
"""

from ostinato.reviews.consequences import follow
from ostinato.reviews.held import NewHeld, text_answer
from ostinato.reviews.model import (
    Content,
    Criterion,
    Declaration,
    Held,
    Item,
    NewItem,
    NewVerdict,
    Output,
    Queue,
    QueueState,
    Sampling,
    Task,
    Verdict,
)
from ostinato.reviews.outcomes import Agreement, Figures, Labelled, Share, Summary
from ostinato.reviews.reviews import Reviews
from ostinato.reviews.selecting import Drawn, Observed, draw, least_confident, select
from ostinato.reviews.settings import Settings

__all__ = [
    "Agreement",
    "Content",
    "Criterion",
    "Declaration",
    "Drawn",
    "Figures",
    "Held",
    "Item",
    "Labelled",
    "NewHeld",
    "NewItem",
    "NewVerdict",
    "Observed",
    "Output",
    "Queue",
    "QueueState",
    "Reviews",
    "Sampling",
    "Settings",
    "Share",
    "Summary",
    "Task",
    "Verdict",
    "draw",
    "follow",
    "least_confident",
    "select",
    "text_answer",
]
