"""The terminal UI: it starts, watches and asks other processes, and never does their work."""
