"""``python -m agentphone_async`` is the command ``agentphone-async``."""

from agentphone_async.cli.entry import main

main()
