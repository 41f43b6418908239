"""Reviews by people: queues, rubrics, reservations, verdicts, agreement; and answers that are held until somebody looked."""

__all__ = []
