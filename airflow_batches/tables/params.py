"""The params of each request as JSON, and their digest.

| part                                    | from                                                                       |
|-----------------------------------------|----------------------------------------------------------------------------|
| members                                 | the model, over it the defaults, over them what the prompt returned        |
| `output_config.format`                  | the output type; a row's or the defaults' own format is refused            |
| other members of `output_config`        | those of the row; if it names none, those of the defaults                  |

The digest is the SHA-256 of the canonical JSON of the params, cut to 16 bytes: equal params have equal digests in any
order of members, from a text or from a function, in any job.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from airflow_batches.api.errors import InvalidRequest
from airflow_batches.submission.canonical import canonical
from airflow_batches.submission.encode import encode_requests
from airflow_batches.tables.distinct import DIGEST_BYTES
from airflow_batches.tables.prompt import Made
from airflow_batches.tables.row_batch import RowBatch

_HEAD: Final = b'{"custom_id":"","params":'
_REASON: Final = " cannot be written as JSON: "


class EncodedParams(NamedTuple):
    """The params of the rows of a batch.

    `bodies` has for each row the part of its JSON that stands between `head` and `tail`; `digests` the digest of its
    params. Both have None for rows without a request. Lists, and parts that are not joined here, because an object and
    a copy for each row would take a third of the time of a plain text (measured).
    """

    head: bytes
    bodies: list[bytes | None]
    tail: bytes
    digests: list[bytes | None]


def params_digest(params: bytes) -> bytes:
    """Return the digest of params in JSON."""
    return sha256(canonical(params)).digest()[:DIGEST_BYTES]


class ParamsEncoder:
    """Makes the params of requests from what prompts return.

    :param model: the model of requests that name none; None if each names one.
    :param defaults: params for every request.
    :param output_format: `output_config.format` for every request; None if there is none.
    :raises InvalidRequest: the defaults cannot be written as JSON, or name another format.
    """

    def __init__(
        self, model: str | None, defaults: Mapping[str, Any], output_format: Mapping[str, Any] | None = None
    ) -> None:
        self._format = None if output_format is None else msgspec.json.decode(msgspec.json.encode(output_format))
        given = {**({} if model is None else {"model": model}), **defaults}
        try:
            encoded = _encoded([given])[0]
        except InvalidRequest as exc:
            raise InvalidRequest(f"defaults{_REASON}{_reason(exc)}") from exc
        if (clash := self._clash(given)) is not None:
            raise InvalidRequest(f"defaults have {clash}; leave one of them out")
        self._base: dict[str, Any] = self._with_format(msgspec.json.decode(encoded))
        self._plain = _around_text(self._base, sort=False)
        head, self._digest_tail = _around_text(self._base, sort=True)
        self._digest_head = sha256(head)

    def encode(self, batch: RowBatch, made: Sequence[Made]) -> EncodedParams:
        """Return the params of each row.

        :param batch: the rows, for messages.
        :param made: what the prompt returned for each; None: no request.
        :raises PromptError: a row's params cannot be written as JSON, or name another format.
        """
        contents = self._contents(batch, made)
        digests = self._digests(contents)
        own = [index for index, each in enumerate(made) if each is not None and not isinstance(each, str)]
        head, tail = self._plain
        if not own:
            return EncodedParams(head, contents, tail, digests)
        bodies = [None if text is None else b"%b%b%b" % (head, text, tail) for text in contents]
        for index, line in zip(own, self._own(batch, own, made), strict=True):
            bodies[index] = line
            digests[index] = params_digest(line)
        return EncodedParams(b"", bodies, b"", digests)

    def _digests(self, contents: Sequence[bytes | None]) -> list[bytes | None]:
        """Return the digest of the params with each text."""
        digests: list[bytes | None] = []
        copy, tail = self._digest_head.copy, self._digest_tail
        for text in contents:
            if text is None:
                digests.append(None)
                continue
            # A copy of the state after the first part takes less time than to join the parts (measured).
            digest = copy()
            digest.update(text)
            digest.update(tail)
            digests.append(digest.digest()[:DIGEST_BYTES])
        return digests

    def _contents(self, batch: RowBatch, made: Sequence[Made]) -> list[bytes | None]:
        """Return each text as JSON; None for what is no text."""
        encode = msgspec.json.Encoder().encode
        try:
            if {*map(type, made)} == {str}:
                return [*map(encode, made)]
            return [encode(each) if isinstance(each, str) else None for each in made]
        except UnicodeEncodeError:
            for index, each in enumerate(made):
                if isinstance(each, str) and _has_half_pair(each):
                    raise batch.error(index, "the prompt has half a surrogate pair, which is no character") from None
            raise

    def _own(self, batch: RowBatch, indexes: Sequence[int], made: Sequence[Made]) -> list[bytes]:
        params = [self._merged(batch, index, made[index]) for index in indexes]
        try:
            return _encoded(params)
        except InvalidRequest:
            for index, each in zip(indexes, params, strict=True):
                try:
                    _encoded([each])
                except InvalidRequest as exc:
                    raise batch.error(index, f"the params{_REASON}{_reason(exc)}") from exc
            raise

    def _merged(self, batch: RowBatch, index: int, made: Any) -> dict[str, Any]:
        if (clash := self._clash(made)) is not None:
            raise batch.error(index, f"the prompt function returned {clash}; leave one of them out")
        return self._with_format({**self._base, **made})

    def _clash(self, params: Mapping[str, Any]) -> str | None:
        """Say how params contradict the output type; None if they do not."""
        config = params.get("output_config")
        own = config.get("format") if isinstance(config, Mapping) else None
        if self._format is None or own is None or own == self._format:
            return None
        return "an output_config.format of their own beside the output type"

    def _with_format(self, params: dict[str, Any]) -> dict[str, Any]:
        if self._format is None:
            return params
        config = params.get("output_config")
        named = config if isinstance(config, Mapping) else {}
        return {**params, "output_config": {**named, "format": self._format}}


def _around_text(base: Mapping[str, Any], *, sort: bool) -> tuple[bytes, bytes]:
    """Return the JSON of one user turn's params before and after its text."""
    mark = secrets.token_hex(16)
    encoded = msgspec.json.encode({**base, "messages": [{"role": "user", "content": mark}]})
    head, _, tail = (canonical(encoded) if sort else encoded).partition(b'"%b"' % mark.encode())
    return head, tail


def _encoded(params: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Return the JSON of each, checked as all requests are."""
    blocks = encode_requests({"custom_id": "", "params": each} for each in params)
    lines = b"".join(blocks).split(b"\n")[:-1]
    return [line[len(_HEAD) : -1] for line in lines]


def _has_half_pair(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _reason(error: InvalidRequest) -> str:
    return str(error).partition(_REASON)[2].removeprefix("params.") or str(error)
