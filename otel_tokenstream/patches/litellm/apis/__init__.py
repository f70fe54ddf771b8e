"""One file for each API of litellm: a reader of its chunks and a reader of its answers."""
