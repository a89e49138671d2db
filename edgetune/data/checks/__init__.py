"""What the report looks for in the rows; ``report`` puts it together."""
