# Generated from redstate/_async/__init__.py by tools/generate_sync.py. Do not edit: edit that file.
"""The handles that users hold. The blocking twins of ``redstate/_async``."""
