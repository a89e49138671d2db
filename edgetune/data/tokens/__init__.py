"""Tokenized rows on disk; ``dataset`` is their door."""
