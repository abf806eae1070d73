"""Measurements of agentphone-async against the tools that people would use instead.

``python -m benchmarks.compare`` is the comparison, ``python -m benchmarks.throughput`` measures
one server and one list, ``python -m benchmarks.latency`` sweeps latency-bound networks against
the emulator. Nothing in the package imports this folder, and no timed test lives in the suite.
"""
