"""Statistics over recorded streams: what ``otel-tokenstream report`` shows, from whatever kept the spans.

sources read spans into a Recording, which makes Stream records of them; groups and comparison
compute over Streams; notebook gives them to Python programs; report holds what came out, and text,
page and its own JSON show it. Nothing here needs more than Python itself, but for data frames.
"""
