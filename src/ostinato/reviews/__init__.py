"""Reviews by people: queues, rubrics, reservations, verdicts, agreement; and answers held until somebody looked."""

__all__ = []
