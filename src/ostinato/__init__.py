"""Ostinato: an LLM gateway that repeats what works and reworks what does not."""

__version__ = "0.1.0"
