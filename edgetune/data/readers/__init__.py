"""Files of every kind -> raw rows; ``sources`` is their door."""
