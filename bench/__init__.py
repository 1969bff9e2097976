"""Measures redstate side by side with its peers and with bare floors. Run it with ``python -m bench``."""
