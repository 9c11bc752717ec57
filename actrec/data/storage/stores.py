"""Opens file systems of fsspec with the options that actrec needs."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.request import getproxies

from actrec.data.storage.faults import RemoteError, fault_of
from actrec.data.storage.paths import scheme_of
from actrec.registry import did_you_mean

# If this variable is not "true", the plain file system of gcsfs is used: another one asks Google for the kind of bucket
# before each request.
_ASKS_FIRST = "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"

_OWN = {"http", "https", "s3", "s3a", "gs", "gcs"}  # schemes whose packages `actrec[remote]` installs
_INSTALLED = {"aiohttp", "s3fs", "gcsfs"}


def open_store(url: str, scheme: str, *, timeout: float, connections: int) -> Any:
    """A new file system of fsspec. Credentials come from the environment and from the configuration of fsspec.

    Args:
        timeout: seconds.
        connections: the largest number at the same time.

    Raises:
        RemoteError: The scheme is unknown, or a package is missing.
    """
    try:
        import fsspec
    except ImportError:
        raise RemoteError(url, "URLs need the package fsspec: pip install 'actrec[remote]'") from None
    from fsspec.registry import known_implementations

    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise RemoteError(url, f"{scheme}:// needs {_missing(known_implementations.get(scheme, {}), error)}") from None
    except ValueError:
        near = did_you_mean(scheme, sorted(known_implementations))
        raise RemoteError(
            url, f"{scheme}:// is unknown: expected s3://, gs://, https:// or another scheme of fsspec{near}"
        ) from None
    if scheme in ("gs", "gcs") and os.environ.get(_ASKS_FIRST, "").lower() != "true":
        from gcsfs.core import GCSFileSystem

        kind = GCSFileSystem
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    # The host and the port, for example, without which some cannot be made. S3 ignores `?versionId=` without this.
    if scheme not in _OWN or scheme in ("s3", "s3a"):
        options |= kind._get_kwargs_from_urls(url)
    if scheme == "ftp":
        kind = type(kind)("FTP", (kind,), {"ftp": io.BytesIO()})  # its __del__ closes this, if it has no connection
    if scheme in ("http", "https") and getproxies():  # otherwise aiohttp would look for them at each request
        options |= {"client_kwargs": {"trust_env": True}}
    if scheme in ("s3", "s3a"):  # `remote` repeats requests itself
        options |= {"config_kwargs": {"retries": {"total_max_attempts": 1}, "connect_timeout": timeout}}
        options["config_kwargs"] |= {"read_timeout": timeout, "max_pool_connections": connections}
    for name, value in _configured(kind).items():
        if name in options and isinstance(value, dict):
            options[name] = options[name] | value
    for name in ("fsspec", "s3fs", "gcsfs", "aiobotocore", "botocore"):  # their warnings are not for the terminal
        logging.getLogger(name).addHandler(logging.NullHandler())
    try:
        store = _gs_store(kind, options, timeout) if scheme in ("gs", "gcs") else kind(**options)
    except Exception as error:
        if isinstance(error, OSError):  # some connect at once
            fault = fault_of(url, error)
            raise (fault.final or RemoteError(url, fault.reason)) from None
        raise RemoteError(url, f"{scheme}:// cannot be used here ({type(error).__name__})") from None
    if hasattr(store, "retries"):
        store.retries = 1
    return store


def _gs_store(kind: Any, options: dict[str, Any], timeout: float) -> Any:
    """A file system of gcsfs with the first credentials that are found.

    By itself, gcsfs also asks the metadata server of Google for minutes, although "google_default" has found no such
    server. It sets no time limit, and tries each request six times, although `remote` repeats requests.
    """
    from aiohttp import ClientTimeout
    from google.auth.exceptions import GoogleAuthError

    if (once := getattr(kind._request, "__wrapped__", None)) is not None:
        kind = type(kind)(kind.__name__, (kind,), {"_request": once})
    options = options | {"requests_timeout": ClientTimeout(total=None, connect=timeout, sock_read=timeout)}

    if "token" not in _configured(kind):
        for token in ("google_default", "cache"):
            with contextlib.suppress(GoogleAuthError, ValueError):
                return kind(**options, token=token)
        options = options | {"token": "anon"}
    return kind(**options)


def _configured(kind: Any) -> dict[str, Any]:
    """The options of a file system in the configuration of fsspec."""
    from fsspec.config import conf

    found: dict[str, Any] = {}
    for one in (kind.protocol,) if isinstance(kind.protocol, str) else kind.protocol:
        found |= conf.get(one, {})
    return found


def _missing(known: Mapping[str, str], error: ImportError) -> str:
    """The package that a scheme of fsspec needs, and how to install it.

    Args:
        known: what the registry of fsspec says of the scheme.
        error: of its import.
    """
    package = known.get("class", "fsspec").partition(".")[0]
    if package == "fsspec":  # only the text names what is missing
        text = f"{known.get('err', '')} {error}"
        found = re.search(r"""[Ii]nstall (?:the )?["']?([\w-]+)|requires ["']?([\w-]+)""", text)
        if found is None:
            return "a package that is missing"
        package = found[1] or found[2]
    name = "actrec[remote]" if package in _INSTALLED else package
    return f"the package {package}: pip install '{name}'"


def name_in(store: Any, url: str) -> str:
    """The name of an object for its file system."""
    return str(store._strip_protocol(scheme_of(url) + url[url.index("://") :]))


def is_http(store: Any) -> bool:
    return "http" in (store.protocol if isinstance(store.protocol, tuple) else (store.protocol,))
