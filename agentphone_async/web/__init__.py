"""Long-running programs around an archive: `watch` receives webhooks, `serve` shows calls."""
