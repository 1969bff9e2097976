"""TLS as redis-py's options ask for it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from redstate import errors

_VERIFICATION = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
TLS_OPTIONS = frozenset(
    {
        "ssl_keyfile",
        "ssl_certfile",
        "ssl_cert_reqs",
        "ssl_include_verify_flags",
        "ssl_exclude_verify_flags",
        "ssl_ca_certs",
        "ssl_ca_data",
        "ssl_ca_path",
        "ssl_check_hostname",
        "ssl_password",
        "ssl_min_version",
        "ssl_ciphers",
    }
)


def speaks_tls(connection_class: type) -> bool:
    """Whether the connections of a client are encrypted, by the class that makes them."""
    # By name, so that clients of redis-py and of valkey-py, sync and asyncio, are told without importing them.
    return any(base.__name__ == "SSLConnection" for base in connection_class.__mro__)


def context_of(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Build what redis-py's SSLConnection would, from the same options."""
    if options.get("ssl_validate_ocsp") or options.get("ssl_validate_ocsp_stapled"):
        raise errors.ConfigurationError("OCSP validation (ssl_validate_ocsp) is not supported")
    verification = options.get("ssl_cert_reqs", "required")
    if isinstance(verification, str):
        if verification not in _VERIFICATION:
            raise errors.ConfigurationError("ssl_cert_reqs must be none, optional or required")
        verification = _VERIFICATION[verification]
    context = ssl.create_default_context()
    context.check_hostname = verification not in (None, ssl.CERT_NONE) and options.get("ssl_check_hostname", True)
    context.verify_mode = ssl.CERT_NONE if verification is None else verification
    for flag in options.get("ssl_include_verify_flags") or ():
        context.verify_flags |= flag
    for flag in options.get("ssl_exclude_verify_flags") or ():
        context.verify_flags &= ~flag
    try:
        _load_files(context, options)
        if options.get("ssl_min_version") is not None:
            context.minimum_version = options["ssl_min_version"]
        if options.get("ssl_ciphers"):
            context.set_ciphers(options["ssl_ciphers"])
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        given = {name for name in options if name in TLS_OPTIONS and options[name] is not None}
        raise errors.ConfigurationError(
            f"The TLS settings {listed(given)} cannot be used: {error}",
            next_step="Check that the files exist, are PEM files and belong together",
        ) from error
    return context


def _load_files(context: ssl.SSLContext, options: Mapping[str, Any]) -> None:
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if certificate is None and key is not None:
        raise errors.ConfigurationError("ssl_keyfile needs ssl_certfile beside it")
    if certificate is not None:
        context.load_cert_chain(certificate, key, options.get("ssl_password"))
    authorities = [options.get(f"ssl_ca_{name}") for name in ("certs", "path", "data")]
    if any(authority is not None for authority in authorities):
        context.load_verify_locations(*authorities)


def listed(names: set[str]) -> str:
    """Names of options, for a message."""
    return ", ".join(sorted(names))
