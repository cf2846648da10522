"""The built-in `http`: one request. Loads httpx on first use."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from shoal.errors import NonRetryableError, StepFailedError
from shoal.tools.context import ToolContext

if TYPE_CHECKING:
    import httpx

BODY_LIMIT: Final = 10 * 1024 * 1024
"""Bytes of an answer, unless the step sets `max_bytes`."""

_WORTH_A_RETRY: Final = frozenset({408, 425, 429})


def http(
    url: str,
    context: ToolContext,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    json: Any = None,
    body: str | bytes | None = None,
    timeout: float = 30.0,
    expect: int | list[int] | None = None,
    follow: bool = True,
    max_bytes: int = BODY_LIMIT,
) -> dict[str, Any]:
    """Send a request and return the answer.

    Args:
        url: `http` or `https`.
        context: Of the attempt.
        method: Of the request.
        headers: Of the request.
        params: Query parameters.
        json: Sent as a JSON body.
        body: Sent as it is; not together with `json`.
        timeout: Seconds without any byte from the other side.
        expect: The statuses that are a success. Default: all below 400.
        follow: Whether redirects are followed.
        max_bytes: A longer answer fails the step.

    Returns:
        `status`, `headers` (lower-case names), `url` (after redirects), `body` (text, or bytes if it is none) and `json` (null
        unless the answer says it is JSON).

    Raises:
        StepFailedError: The other side could not be reached or answered 408, 425, 429 or 5xx; worth a retry.
        NonRetryableError: It answered another status than expected, or more than `max_bytes`; or the request is wrong.
    """
    import httpx

    if json is not None and body is not None:
        raise NonRetryableError("http: `json` and `body` exclude each other")
    request: dict[str, Any] = {"headers": dict(headers or {}), "params": params, "follow_redirects": follow}
    request |= {"json": json} if json is not None else {"content": body}
    try:
        with httpx.Client(timeout=timeout) as client, client.stream(method.upper(), url, **request) as response:
            data = _read(response, context, max_bytes)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise NonRetryableError(f"http: {error}") from None
    except httpx.HTTPError as error:
        raise StepFailedError(f"http: {method.upper()} {url}: {type(error).__name__}: {error}") from error
    _check(response.status_code, expect, f"{method.upper()} {url}", data)
    return _answer(response, data)


def _read(response: httpx.Response, context: ToolContext, max_bytes: int) -> bytes:
    data = bytearray()
    for chunk in response.iter_bytes():
        context.check_canceled()
        data += chunk
        if len(data) > max_bytes:
            raise NonRetryableError(f"http: the answer is longer than {max_bytes} bytes", hint="raise `max_bytes`")
    return bytes(data)


def _check(status: int, expect: int | list[int] | None, what: str, data: bytes) -> None:
    expected = [expect] if isinstance(expect, int) else expect
    if status in expected if expected is not None else status < 400:  # noqa: PLR2004 - RFC 9110, section 15
        return
    message = f"http: {what} answered {status}: {data[:500].decode('utf-8', 'replace')}"
    if status >= 500 or status in _WORTH_A_RETRY:  # noqa: PLR2004
        raise StepFailedError(message)
    raise NonRetryableError(message)


def _answer(response: httpx.Response, data: bytes) -> dict[str, Any]:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    parsed: Any = None
    if is_json and data:
        try:
            parsed = json_text.loads(data)
        except ValueError as error:
            raise StepFailedError(f"http: the answer says it is JSON and is not: {error}") from None
    try:
        body: str | bytes = data.decode(response.charset_encoding or "utf-8")
    except (UnicodeDecodeError, LookupError):
        body = data
    return {
        "status": response.status_code,
        "headers": {name.lower(): value for name, value in response.headers.items()},
        "url": str(response.url),
        "body": body,
        "json": parsed,
    }
