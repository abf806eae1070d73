from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentphone_async import AsyncAgentPhone, RetryPolicy, Settings, Timeouts
from agentphone_async.config import (
    DEFAULT_BASE_URL,
    check_api_key,
    check_base_url,
    from_environment,
)
from agentphone_async.errors import ConfigurationError

GOOD_URLS = [
    ("https://api.agentphone.ai", "https://api.agentphone.ai"),
    ("https://api.agentphone.ai/", "https://api.agentphone.ai"),
    ("https://proxy.example/agent//", "https://proxy.example/agent"),
    ("https://api.example:8443", "https://api.example:8443"),
    ("https://proxy.example/v1/agent", "https://proxy.example/v1/agent"),
    ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    ("http://[::1]:8000", "http://[::1]:8000"),
    ("http://localhost", "http://localhost"),
    ("http://x.localhost:1", "http://x.localhost:1"),
]
BAD_URLS = [
    ("http://api.agentphone.ai", "not encrypted"),
    ("http://10.0.0.1", "not encrypted"),
    ("http://127.0.0.1.example.com", "not encrypted"),
    ("http://localhost.example.com", "not encrypted"),
    ("api.agentphone.ai", "not an http"),
    ("", "not an http"),
    ("ftp://api.agentphone.ai", "not an http"),
    ("https://", "not an http"),
    ("https:///v1", "not an http"),
    ("https://api.agentphone.ai/v1", "/v1, which is added by itself; leave it out"),
    ("https://proxy.example/agent/v1/", "/v1, which is added by itself; leave it out"),
    ("https://sk_live_1@api.agentphone.ai", "credentials"),
    ("https://me:pw@api.agentphone.ai", "credentials"),
    ("https://sk_live_1@api.agentphone.ai:44x", "malformed"),
    ("sk_live_1", "not an http"),
    ("https://api.agentphone.ai?key=1", "query or a fragment"),
    ("https://api.agentphone.ai#x", "query or a fragment"),
    ("https://api.agentphone.ai/a b", "white space"),
    ("https://api.agentphone.ai:99999", "malformed"),
    ("https://[::1", "malformed"),
]


@pytest.mark.parametrize(("given_", "kept"), GOOD_URLS)
def test_base_urls_that_work(given_: str, kept: str):
    assert check_base_url(given_) == kept
    assert AsyncAgentPhone(base_url=given_).settings.base_url == kept


@pytest.mark.parametrize(("url", "why"), BAD_URLS)
def test_base_urls_that_do_not(url: str, why: str):
    with pytest.raises(ConfigurationError, match=why) as caught:
        check_base_url(url)
    assert "pw" not in str(caught.value)
    assert "sk_live_1" not in str(caught.value)


@given(st.text(max_size=30))
def test_no_text_breaks_the_check(text: str):
    messages: list[str] = []
    for url in (text, "https://" + text, "http://" + text):
        try:
            checked = check_base_url(url)
        except ConfigurationError as error:
            messages.append(str(error))
        else:
            assert checked.startswith(("http://", "https://"))
    assert all(message.isprintable() for message in messages)


@pytest.mark.parametrize("key", ["", "  ", "a b", "a\nb", "ключ", "a\x7f"])
def test_keys_that_cannot_be_one(key: str):
    with pytest.raises(ConfigurationError, match="API key") as caught:
        check_api_key(key)
    assert not key.strip() or key not in str(caught.value)


def test_white_space_around_a_key_is_a_mistake_of_copying():
    assert Settings(api_key=" sk_1\n").api_key == "sk_1"


@pytest.mark.parametrize(
    ("key", "url", "environment", "expected"),
    [
        (None, None, {}, (None, DEFAULT_BASE_URL)),
        (
            None,
            None,
            {"AGENTPHONE_API_KEY": "", "AGENTPHONE_BASE_URL": ""},
            (None, DEFAULT_BASE_URL),
        ),
        (
            None,
            None,
            {"AGENTPHONE_API_KEY": "k", "AGENTPHONE_BASE_URL": "https://x"},
            ("k", "https://x"),
        ),
        (
            "mine",
            "https://y",
            {"AGENTPHONE_API_KEY": "k", "AGENTPHONE_BASE_URL": "https://x"},
            ("mine", "https://y"),
        ),
        ("", None, {"AGENTPHONE_API_KEY": "k"}, ("", DEFAULT_BASE_URL)),
    ],
)
def test_the_environment_fills_what_is_not_given(key, url, environment, expected):
    assert from_environment(key, url, environment) == expected


def test_an_empty_key_that_was_given_is_an_error_and_no_silent_fallback(monkeypatch):
    monkeypatch.setenv("AGENTPHONE_API_KEY", "sk_other_account")
    with pytest.raises(ConfigurationError, match="the API key is empty"):
        AsyncAgentPhone("")


def test_the_real_environment_is_read(monkeypatch):
    monkeypatch.setenv("AGENTPHONE_API_KEY", "sk_env")
    monkeypatch.setenv("AGENTPHONE_BASE_URL", "http://127.0.0.1:9")
    settings = AsyncAgentPhone().settings
    assert (settings.api_key, settings.base_url) == ("sk_env", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Settings(sub_account=""),
        lambda: Settings(sub_account="a\r\nb"),
        lambda: Settings(connections=0),
        lambda: RetryPolicy(attempts=0),
        lambda: Timeouts(connect=0),
        lambda: Timeouts(read=-1),
        lambda: Timeouts(head=float("inf")),
        lambda: Timeouts(minimum_speed_window=float("nan")),
        lambda: Timeouts(minimum_speed=-1),
    ],
)
def test_settings_that_cannot_work(make):
    with pytest.raises(ConfigurationError):
        make()


def test_a_configuration_error_is_a_value_error():
    assert issubclass(ConfigurationError, ValueError)


def test_settings_do_not_change():
    with pytest.raises(AttributeError):
        Settings().api_key = "x"  # type: ignore[misc]
