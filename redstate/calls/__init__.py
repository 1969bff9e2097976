"""Builders of calls, one module a noun. Pure: they validate, encode and describe; a transport performs."""
