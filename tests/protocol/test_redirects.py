from __future__ import annotations

import pytest

from agentphone_async.errors import UnexpectedResponseError
from agentphone_async.protocol import endpoints
from agentphone_async.protocol.redirects import LONGEST_CHAIN, next_hop

RECORDING = endpoints.get_recording("call_1")
HOME = "https://api.agentphone.ai/v1/calls/call_1/recording"

FOLLOWED = [
    ("/elsewhere?token=1", "https://api.agentphone.ai/elsewhere?token=1"),
    ("other", "https://api.agentphone.ai/v1/calls/call_1/other"),
    ("https://storage.example.com/a.wav?sig=x", "https://storage.example.com/a.wav?sig=x"),
    ("//cdn.example.com/a.wav", "https://cdn.example.com/a.wav"),
    ("https://8.8.8.8/a.wav", "https://8.8.8.8/a.wav"),
    ("/a%2Fb?x=%3d&y=a+b", "https://api.agentphone.ai/a%2Fb?x=%3d&y=a+b"),
    ("/two words\u00fc", "https://api.agentphone.ai/two%20words%C3%BC"),
    ("/\x01x", "https://api.agentphone.ai/%01x"),
]
REFUSED = [
    (None, "does not say where"),
    ("", "does not say where"),
    ("http://api.agentphone.ai/v1", "unencrypted"),
    ("http://storage.example.com/", "unencrypted"),
    ("https://user:pw@storage.example.com/", "credentials"),
    ("https://@storage.example.com/", "credentials"),
    ("ftp://storage.example.com/a.wav", "no web server"),
    ("file:///etc/passwd", "no web server"),
    ("javascript:alert(1)", "no web server"),
    ("https://[::1", "malformed"),
    ("https://cdn.example.com:99999/x", "malformed"),
    ("https://cdn.example.com:abc/x", "malformed"),
    ("https://a..b/", "malformed"),
    (f"https://{'a' * 64}.example/", "malformed"),
    ("https://\xff.example/", "malformed"),
    ("https://xn--\xe9.example/", "malformed"),
    ("/\udcff", "malformed"),
    ("https://localhost/", "private network"),
    ("https://x.localhost/", "private network"),
    ("https://127.0.0.1/", "private network"),
    ("https://127.1/", "private network"),
    ("https://2130706433/", "private network"),
    ("https://0x7f000001/", "private network"),
    ("https://10.0.0.1/", "private network"),
    ("https://192.168.1.1/", "private network"),
    ("https://169.254.169.254/latest/meta-data", "private network"),
    ("https://[::1]/", "private network"),
    ("https://[fd00::1]/", "private network"),
    ("https://[fe80::1]/", "private network"),
    ("https://[::ffff:10.0.0.1]/", "private network"),
    ("https://metadata.google.internal/", "private network"),
    ("https://LOCALHOST/", "private network"),
    ("https://localhost./", "private network"),
    ("https://metadata.google.internal./", "private network"),
    ("https://127.0.0.1./", "private network"),
    ("https://0177.0.0.1/", "private network"),
]


@pytest.mark.parametrize(("location", "target"), FOLLOWED)
def test_followed(location: str, target: str):
    assert next_hop(RECORDING, HOME, location, status=302, hop=0) == target


@pytest.mark.parametrize(("location", "why"), REFUSED)
def test_refused(location: str | None, why: str):
    with pytest.raises(UnexpectedResponseError, match=why) as caught:
        next_hop(RECORDING, HOME, location, status=302, hop=0)
    assert caught.value.status == 302
    assert caught.value.call_id == "call_1"


def test_a_chain_is_bounded():
    next_hop(RECORDING, HOME, "/x", status=307, hop=LONGEST_CHAIN - 1)
    with pytest.raises(UnexpectedResponseError, match="more than 5 in a row"):
        next_hop(RECORDING, HOME, "/x", status=307, hop=LONGEST_CHAIN)


def test_what_carries_the_key_is_never_redirected():
    with pytest.raises(UnexpectedResponseError, match="API key"):
        next_hop(endpoints.get_call("c"), HOME, "/v1/other", status=301, hop=0)


def test_within_loopback_an_emulator_may_redirect():
    at = "http://127.0.0.1:8000/v1/calls/c/recording"
    assert next_hop(RECORDING, at, "http://localhost:9/a", status=302, hop=0)
    with pytest.raises(UnexpectedResponseError, match="unencrypted"):
        next_hop(RECORDING, at, "http://example.com/a", status=302, hop=0)


def test_secrets_in_the_target_are_not_shown():
    with pytest.raises(UnexpectedResponseError) as caught:
        next_hop(
            RECORDING, HOME, "http://me:hunter2@s3.example/k?X-Signature=abc#f", status=302, hop=0
        )
    shown = str(caught.value)
    assert "s3.example" in shown
    for secret in ("hunter2", "abc", "me:"):
        assert secret not in shown


def test_escape_codes_in_the_target_are_not_shown():
    with pytest.raises(UnexpectedResponseError) as caught:
        next_hop(RECORDING, HOME, "http://a\x1b[2J.example/", status=302, hop=0)
    assert str(caught.value).isprintable()
