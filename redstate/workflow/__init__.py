"""Declared workflows: their definition, its checks, what they collect, and pictures of them. Pure; no I/O."""
