"""Text of prompts and answers: messages, limits, redaction, and the attributes that carry it."""
