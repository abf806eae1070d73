"""Help for those who test what they build on this package."""

from agentphone_async.testing.sink_conformance import SinkConformance

__all__ = ["SinkConformance"]
