"""State that reads and changes like ``dict`` and ``list``, while it lives in the server."""
