"""What a path in a list names: a local file, a URL, or a member of a tar archive, `ARCHIVE::MEMBER`."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: C:// is a drive
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*::.*://", re.DOTALL)  # of fsspec: simplecache::s3://bucket/a.mp4
_ARCHIVE = re.compile(r"\.(tar|tar\.\w{1,4}|tgz|tbz2?|txz|tzst)::", re.IGNORECASE)

# Schemes of fsspec that name local files, other URLs, or nothing that is stored.
REFUSED = {
    *("file", "local", "memory", "dir", "data", "reference", "generic", "zip", "tar", "libarchive", "arrow_hdfs"),
    *("simplecache", "filecache", "blockcache", "cached", "asynclocal", "async_wrapper", "lazyreference", "dask"),
}
_CONTAINER_AT = {"abfs", "abfss", "adl", "az", "wasb", "wasbs"}  # CONTAINER@ACCOUNT is a place there, not a user
# Names in a query, as lower-case letters without marks between words.
_SECRETS = re.compile(
    r"token(?!s)|secret|passw|passphrase|pwd|signature|credential|jwt|bearer|hmac|auth(?!or(?!i))|accessid|keypairid|"
    r"(j|php|asp)sess(ion)?id|(access|account|api|license|private|shared|subscription)key|^(access|hdn(ea|tl|ts)|pass|sas|sig)$",
)
_QUERY = re.compile(r"[?&;]([^=&;?/]+)=?([^&;]*)")
_USER = re.compile(r"[^/]*@|(?!arn:)[^/:\[\]]*:(?!\d*(/|$)).*@")  # a password may contain a slash


def is_url(path: str) -> bool:
    """Whether a path is a URL, or a member of an archive at a URL."""
    return "://" in path and (_SCHEME.match(path) is not None or _CHAIN.match(path) is not None)


def split_member(path: str) -> tuple[str, str | None]:
    """(archive, member) of a path `ARCHIVE::MEMBER`; (path, None) of any other path.

    A local file with such a name is not split.
    """
    if "::" not in path or not (found := _ARCHIVE.search(path)) or found.end() == len(path):
        return path, None
    if not is_url(path) and os.path.lexists(path):
        return path, None
    return path[: found.end() - 2], path[found.end() :]


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether the bytes of a path are fetched over the network."""
    return is_url(os.fspath(path))


def is_local(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an ordinary path of the file system: neither a URL nor a member of an archive.

    Only for a path that contains `::` is the file system asked.
    """
    path = os.fspath(path)
    return not is_url(path) and ("::" not in path or split_member(path)[1] is None)


def join(folder: str | os.PathLike[str], path: str) -> str:
    """A path of a list, relative to the folder of the list. URLs and absolute paths stay as they are."""
    if is_url(path):
        return path
    folder = os.fspath(folder)
    if is_url(folder):
        return path if os.path.isabs(path) else f"{folder.rstrip('/')}/{path}"
    return os.path.join(folder, path)


def scheme_of(url: str) -> str:
    """The scheme of a URL, in lower case."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else url.partition("::")[0].lower()


def host_of(url: str) -> str:
    """The host of a URL, or what stands there, such as a bucket."""
    return url.partition("://")[2].partition("/")[0]


def why_refused(path: str | os.PathLike[str]) -> str | None:
    """The reason why a URL in a list is refused; None if it is not refused, or if the path is not a URL.

    Lists, logs and checkpoints contain paths, so a URL must not contain a secret. The reason does not repeat it.
    """
    path = os.fspath(path)
    if not is_url(path):
        return None
    scheme = scheme_of(path)
    if _CHAIN.match(path) and not _SCHEME.match(path):
        return f"{scheme}:: in front of a URL is not supported: expected only the URL; actrec has its own cache"
    if scheme in REFUSED:
        hint = "the path alone" if scheme in ("file", "local") else "the URL of a store, such as s3:// or https://"
        return f"{scheme}:// is not supported: expected {hint}"
    url = split_member(path)[0]
    place = host_of(url)
    if not place:
        return f"there is nothing between {scheme}:// and the path: expected a host or a bucket"
    if _USER.match(url.partition("://")[2]) and (scheme not in _CONTAINER_AT or ":" in place):
        return (
            "a user or a password in a URL is not supported, because lists are copied: expected credentials in the "
            "environment, or in the configuration of fsspec"
        )
    if any(itertools.starmap(_is_secret, _QUERY.findall(url))):
        return (
            "a signature or token in a URL is not supported, because it expires and lists are copied: expected "
            "credentials in the environment, or in the configuration of fsspec"
        )
    try:
        parts = urlsplit(f"{scheme}://{place}")
        if scheme in ("http", "https"):
            parts.port  # noqa: B018 - raises
    except ValueError:
        return f"{place} is malformed: expected a host or a bucket, or HOST:PORT"
    if scheme in ("http", "https") and urlsplit(url).fragment:
        return "# begins a fragment, which is never sent to the server: expected %23 for a # in a name"
    return None


def _is_secret(name: str, value: str) -> bool:
    return (
        _SECRETS.search(re.sub("[^a-z]", "", unquote(name).lower())) is not None
        or value.startswith(("AIza", "eyJ", "ghp_"))  # keys of Google, JSON web tokens, tokens of GitHub
    )


def shown(path: str | os.PathLike[str]) -> str:
    """A path for messages: without the user, the password and the query of a URL that was refused."""
    path = os.fspath(path)
    if why_refused(path) is None:
        return path
    before, mark, rest = path.partition("://")
    if _USER.match(rest):
        rest = rest.rpartition("@")[2]
    return f"{before}{mark}{re.split('[?;#]', rest)[0]}"


def hide_secrets(url: str) -> str:
    """A URL whose query shows no password, signature or token."""
    return _QUERY.sub(lambda m: f"{m[0][: -len(m[2])]}***" if m[2] and _is_secret(m[1], m[2]) else m[0], url)


def unquoted(path: str) -> str:
    """A path as text: the URL of a web server without percent encoding, any other path as it is."""
    if not is_url(path) or scheme_of(path) not in ("http", "https"):
        return path
    archive, member = split_member(path)
    return unquote(archive) if member is None else f"{unquote(archive)}::{member}"


def may_exist(path: str | os.PathLike[str]) -> bool:
    """Whether a file or folder exists, or the archive of a member. True for every URL: no server is asked."""
    path = os.fspath(path)
    return is_url(path) or os.path.exists(split_member(path)[0])


def absolute(path: str | os.PathLike[str]) -> str:
    """The absolute path. URLs stay as they are, and so do the names of members."""
    return _with_archive(os.fspath(path), os.path.abspath)


def resolved(path: str | os.PathLike[str]) -> str:
    """An absolute path without symbolic links, as `os.path.realpath`."""
    return _with_archive(os.fspath(path), os.path.realpath)


def _with_archive(path: str, change: Callable[[str], str]) -> str:
    if is_url(path):
        return path
    archive, member = split_member(path)
    return change(archive) if member is None else f"{change(archive)}::{member}"
