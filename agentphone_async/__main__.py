"""``python -m agentphone_async`` is the command ``agentphone-async``."""

from agentphone_async.cli.main import main

main()
