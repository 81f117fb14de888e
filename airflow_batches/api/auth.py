"""Auth objects for `requests`. None of them shows its secret in a repr or an error."""

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
        # The library requests quotes a header value that it cannot send in its error, including the secret.
        if not _SENDABLE.fullmatch(secret.strip()):
            raise InvalidRequest(f"the {self.what} is empty or has characters that no header can hold")
        self._secret = secret.strip()

    def hide(self, text: bytes) -> bytes:
        """Return an answer without the secret, in case a server echoed it."""
        return text.replace(self._secret.encode(), b"***")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


class ApiKeyAuth(SecretAuth):
    """Sends an API key in the header `x-api-key`, as the API's documentation shows it.

    :param secret: the key.
    :raises InvalidRequest: when it is empty or cannot be sent in a header.

    Example::

        client = BatchesClient(auth=ApiKeyAuth(os.environ["ANTHROPIC_API_KEY"]))
    """

    what = "API key"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["x-api-key"] = self._secret
        return request


class BearerAuth(SecretAuth):
    """Sends a key or token as `Authorization: Bearer`.

    For API keys, tokens of a gateway, and tokens of a workload identity.

    :param secret: the key or token.
    :raises InvalidRequest: when it is empty or cannot be sent in a header.

    Example::

        client = BatchesClient(auth=BearerAuth(token), base_url="https://gateway.example/anthropic")
    """

    what = "bearer token"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._secret}"
        return request
