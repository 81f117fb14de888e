"""The members of params that pass the preflight are those that the official SDK declares."""

from __future__ import annotations

from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaParams
from anthropic.types.message_create_params import MessageCreateParamsBase as Params

from airflow_batches.emulator import terms
from airflow_batches.submission.members import BETA_MEMBERS, MEMBERS, NEVER

HEADERS = {"betas", "workspace_id"}
"""Arguments of the SDK's calls that become headers, and can stand in no params. (`user_profile_id` can.)"""
UNDECLARED = {"stream", "temperature", "top_k", "top_p"}
"""What the API takes, some of it from older versions only, and the SDK's type does not name."""
OF_A_HELPER = {"output_format"}


def test_every_member_of_the_sdk_passes_and_no_other() -> None:
    assert set(Params.__annotations__) - HEADERS == MEMBERS - UNDECLARED
    assert set(BetaParams.__annotations__) - HEADERS - MEMBERS == BETA_MEMBERS - OF_A_HELPER


def test_arguments_of_the_sdks_calls_are_told_where_they_belong() -> None:
    assert set(NEVER) >= HEADERS
    assert not set(NEVER) & (MEMBERS | BETA_MEMBERS)


def test_the_emulator_knows_the_same_members() -> None:
    assert (terms._MEMBERS, terms._BETA_MEMBERS) == (MEMBERS, BETA_MEMBERS)
