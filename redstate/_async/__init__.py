"""The handles that users hold. Written here, awaited; ``redstate/_sync`` is generated from this package."""
