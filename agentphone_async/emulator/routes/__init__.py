"""Which endpoint a request is for."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args
from urllib.parse import unquote

Route = Literal[
    "list_calls",
    "create_call",
    "create_web_call",
    "get_call",
    "delete_call",
    "end_call",
    "recording",
    "storage",
    "transcript",
    "transcript_stream",
    "number_calls",
    "agent_calls",
    "list_numbers",
    "list_agents",
    "usage",
    "webhook_deliveries",
    "enable_recording",
    "webhook",
    "unknown",
]
"""The endpoints' names in faults, counts and logs; ``webhook`` is an event on
its way out, ``unknown`` every other path."""

ROUTES: tuple[Route, ...] = get_args(Route)
CALL_LISTS: frozenset[Route] = frozenset({"list_calls", "number_calls", "agent_calls"})

_PATHS: dict[str, dict[str, Route]] = {
    "/v1/calls": {"GET": "list_calls", "POST": "create_call"},
    "/v1/calls/web": {"POST": "create_web_call"},
    "/v1/calls/*": {"GET": "get_call", "DELETE": "delete_call"},
    "/v1/calls/*/end": {"POST": "end_call"},
    "/v1/calls/*/recording": {"GET": "recording"},
    "/storage/recordings/*": {"GET": "storage"},
    "/v1/calls/*/transcript": {"GET": "transcript"},
    "/v1/calls/*/transcript/stream": {"GET": "transcript_stream"},
    "/v1/numbers/*/calls": {"GET": "number_calls"},
    "/v1/agents/*/calls": {"GET": "agent_calls"},
    "/v1/numbers": {"GET": "list_numbers"},
    "/v1/agents": {"GET": "list_agents"},
    "/v1/usage": {"GET": "usage"},
    "/v1/webhooks/deliveries": {"GET": "webhook_deliveries"},
    "/credits/recording/enable": {"POST": "enable_recording"},
}


class Match(NamedTuple):
    """What a request line asks for.

    Attributes:
        route: The endpoint.
        identity: The id in the path, decoded; empty where the path has none.
        query: Everything after the question mark.
        allow: The methods that the path knows, when the request's is none of them.
    """

    route: Route
    identity: str
    query: str
    allow: tuple[str, ...] = ()


def match(method: str, target: str) -> Match:
    """Find the endpoint of a request; one percent-encoded segment is one id, slashes and all."""
    path, _, query = target.partition("?")
    identity = ""
    routes = None if "*" in path else _PATHS.get(path)
    if routes is None or method not in routes:
        segments = path.split("/")
        if len(segments) > 3 and segments[3]:
            encoded, segments[3] = segments[3], "*"
            routes = _PATHS.get("/".join(segments), routes)
            identity = unquote(encoded, errors="surrogateescape") if "%" in encoded else encoded
    if routes is None:
        return Match("unknown", "", query)
    route = routes.get(method)
    if route is not None:
        return Match(route, identity, query)
    # A method that the path does not know is counted under what the path is for.
    return Match(next(iter(routes.values())), identity, query, tuple(routes))
