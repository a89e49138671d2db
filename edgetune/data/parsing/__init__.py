"""Raw rows of every format -> conversations; ``formats`` is their door."""
