"""What the errors of fsspec and its file systems mean: whether a request is repeated, and what the user is told."""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from actrec.data.errors import MediaError
from actrec.system import raise_if_exhausted


class RemoteError(MediaError):
    """An object that cannot be read after all retries. The message has no credentials and no text of the server."""


class NoRangesError(Exception):
    """The server sends whole objects only."""


class SeveralRangesError(Exception):
    """The server does not send several ranges in one answer.

    Args:
        ignored: it sends the whole object.
    """

    def __init__(self, *, ignored: bool = False):
        super().__init__()
        self.ignored = ignored


class ObjectChangedError(Exception):
    """The object was replaced while it was read."""


class HTTPStatusError(Exception):
    def __init__(self, status: int, pause: float):
        super().__init__(status)
        self.status, self.pause = status, pause


class BrokenError(Exception):
    """The answer is not what was asked for."""


@dataclass(frozen=True)
class Fault:
    """Why a request failed.

    Args:
        reason: in words.
        final: what to raise if a retry would not help.
        pause: seconds that the server asked to wait.
        answered: whether the host has answered.
    """

    reason: str
    final: Exception | None = None
    pause: float = 0.0
    answered: bool = False


FOLDER = "a folder, not a file: a URL of a folder ends with /"
_REFUSES, _CHECK = "the server refuses access", "check the credentials in the environment"
_PASSING_CODES = re.compile(
    r"SlowDown|Throttl|RequestLimitExceeded|TooManyRequests|RequestTimeout$|Internal(Error|Failure)|ServiceUnavailable|"
    r"ServerBusy|OperationAborted|BandwidthLimitExceeded|503|500",
)
_NO_CREDENTIALS = re.compile(
    "NoCredentialsError|PartialCredentialsError|ProfileNotFound|DefaultCredentialsError|RefreshError|"
    "TokenRetrievalError|NoAuthTokenError|UnauthorizedSSOTokenError|SSOTokenLoadError|ClientAuthenticationError"
)
_NO_RETRY = {  # errors of botocore before any request, and of aiohttp
    "ParamValidationError": "the bucket or the object has a name that S3 does not allow",
    "ConfigParseError": "the configuration file of AWS is malformed",
    "ConfigNotFound": "the configuration file of AWS does not exist",
    "NoRegionError": "the region of AWS is unknown: set AWS_DEFAULT_REGION",
    "NonHttpUrlRedirectClientError": "the server redirects to a URL that is not one of a web server",
}
_CUT = re.compile("ClientPayloadError|ContentLengthError|TransferEncodingError|IncompleteRead(Error)?")
_BROKEN = re.compile(
    "ServerDisconnectedError|ClientOSError|ConnectionClosedError|ResponseStreaming|ClientConnectionResetError|"
    "IncompleteBody|HTTPClientError|ChecksumError"
)
_UNREACHED = re.compile(
    "ClientConnector|ClientProxyConnection|EndpointConnectionError|ProxyConnectionError|TransportError"
)
_TIMED_OUT = re.compile("Timeout")
_NETWORK = {
    *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH),
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET, errno.EHOSTDOWN, errno.EAGAIN, errno.EBUSY, errno.EIO),
    *(getattr(errno, "EREMOTEIO", errno.EIO),),
}


def fault_of(url: str, error: Exception) -> Fault:
    """What an error of a request means. The text of the error is not used, because it may contain secrets."""
    chain = _chain(error)
    for one in chain:
        raise_if_exhausted(url, one)
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if any(map(_CUT.fullmatch, names)):  # first, because aiohttp gives some of them the status 400
        return Fault("the connection was broken", answered=True)
    if "HttpProcessingError" in names:  # to which aiohttp also gives the status 400
        return Fault("the answer of the server is malformed", answered=True)
    if "TooManyRedirects" in names:
        return Fault("", RemoteError(url, "the server redirects too often"))
    for one in chain:
        if (status := _status_of(one)) is not None:
            return _fault_of_status(url, *status)
    if any(map(_NO_CREDENTIALS.fullmatch, names)):
        return Fault("", PermissionError(errno.EACCES, "no valid credentials were found in the environment", url))
    if reason := next((text for name, text in _NO_RETRY.items() if name in names), ""):
        return Fault("", RemoteError(url, reason))
    if any(isinstance(one, ValueError) and str(one).startswith("Invalid endpoint") for one in chain):
        return Fault("", RemoteError(url, "the endpoint is not a URL: check AWS_ENDPOINT_URL"))
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in chain):
        return Fault("", RemoteError(url, "the certificate of the server is not valid"))
    if any(isinstance(one, BrokenError) for one in chain):
        return Fault(str(error), answered=True)
    for one in chain:
        if isinstance(one, FileNotFoundError):
            return Fault("", FileNotFoundError(errno.ENOENT, "no such object", url), answered=True)
        if isinstance(one, PermissionError):
            return Fault("", PermissionError(errno.EACCES, f"{_REFUSES}: {_CHECK}", url), answered=True)
        if isinstance(one, IsADirectoryError):
            return Fault("", IsADirectoryError(errno.EISDIR, FOLDER, url), answered=True)
    if any(isinstance(one, socket.gaierror) for one in chain) or "ClientConnectorDNSError" in names:
        return Fault("the host was not found")
    if any(isinstance(one, TimeoutError) for one in chain) or any(map(_TIMED_OUT.search, names)):
        return Fault("the server did not answer in time")
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return Fault("the server refused the connection")
    if any(map(_BROKEN.search, names)):
        return Fault("the connection was broken", answered=True)
    if any(map(_UNREACHED.search, names)):
        return Fault("the server cannot be reached")
    if any(isinstance(one, OSError) and (one.errno in _NETWORK or isinstance(one, ConnectionError)) for one in chain):
        return Fault("the connection was broken")
    return Fault("", RemoteError(url, f"the object cannot be read ({type(error).__name__})"))


def _chain(error: BaseException) -> list[Exception]:
    """An error and what caused it."""
    found: list[Exception] = []
    one: BaseException | None = error
    while isinstance(one, Exception) and one not in found and len(found) < 10:
        found.append(one)
        inner = getattr(one, "os_error", None)
        one = one.__cause__ or (inner if isinstance(inner, Exception) else None) or one.__context__
    return found


def _status_of(error: Exception) -> tuple[int, str, float] | None:
    """(HTTP status, code, seconds to wait) of an error of any file system; None if it has none."""
    if isinstance(error, HTTPStatusError):
        return error.status, "", error.pause
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = str(answer.get("Error", {}).get("Code", ""))
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if isinstance(status, int) and status >= 300:
            return status, code, seconds_of(headers.get("retry-after"))
        return (503 if _PASSING_CODES.search(code) else 400, code, 0.0) if code else None
    for name in ("status", "status_code", "code"):  # aiohttp, azure, gcsfs
        if (number := getattr(error, name, None)) is None:
            continue
        if isinstance(number, str) and number.isdigit():
            number = int(number)
        if isinstance(number, int) and 300 <= number < 600:
            return number, "", 0.0
    return None


def _fault_of_status(url: str, status: int, code: str, pause: float) -> Fault:
    reason = f"the server answers {status}" + (f" {code}" if re.fullmatch(r"[A-Z][A-Za-z]{2,40}", code) else "")
    if status in (408, 409, 423, 425, 429) or (status >= 500 and status not in (501, 505)):
        return Fault(reason, pause=pause, answered=True)
    if _PASSING_CODES.search(code):
        return Fault(reason, pause=pause, answered=True)
    final: Exception = RemoteError(url, reason)
    if status in (404, 410):
        final = FileNotFoundError(errno.ENOENT, "no such bucket" if code == "NoSuchBucket" else "no such object", url)
    elif status in (401, 403, 407) or code in ("ExpiredToken", "InvalidToken", "TokenRefreshRequired"):
        final = PermissionError(
            errno.EACCES,
            f"{reason.replace('answers', 'refuses access:')}: check the credentials in the environment",
            url,
        )
    elif status in (412, 416):
        final = ObjectChangedError()
    return Fault(reason, final, answered=True)


def seconds_of(text: object) -> float:
    """The seconds from now that a Retry-After header states, as a number or as a date; 0 for anything else."""
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, float(text))  # type: ignore[arg-type]
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(str(text)).timestamp() - time.time())
    return 0.0
