"""Facts about an answer that are known only at its end."""
