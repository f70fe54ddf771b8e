"""The functions of litellm that are patched, and the wrappers around them."""
