"""How a request is signed. Each way is one `requests` auth object; none shows its secret in a repr or an error."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from requests import PreparedRequest
from requests.auth import AuthBase

from airflow_batches.api.errors import InvalidRequest

_SENDABLE: Final = re.compile(r"[\x21-\x7e]+")


class SecretAuth(AuthBase):
    """A secret in one request header."""

    what: ClassVar[str]

    def __init__(self, secret: str) -> None:
        # A header value that cannot be sent would be quoted, secret and all, in the error of requests.
        if not _SENDABLE.fullmatch(secret.strip()):
            raise InvalidRequest(f"the {self.what} is empty or has characters that no header can hold")
        self._secret = secret.strip()

    def hide(self, text: bytes) -> bytes:
        """An answer without the secret, should a server have echoed it."""
        return text.replace(self._secret.encode(), b"***")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


class ApiKeyAuth(SecretAuth):
    """`x-api-key`, as the API's own pages show it."""

    what = "API key"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["x-api-key"] = self._secret
        return request


class BearerAuth(SecretAuth):
    """`Authorization: Bearer`: API keys, tokens of a gateway, tokens of a workload identity."""

    what = "bearer token"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._secret}"
        return request
