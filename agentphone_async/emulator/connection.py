"""A connection to the emulator: aiohttp's, but for how it answers what is not HTTP."""

from __future__ import annotations

from aiohttp import web


class Connection(web.RequestHandler):
    """Says in the web framework's JSON what is wrong with a request, as the API does."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be read, or that we failed to answer."""
        super().handle_error(request, status, exc, message)  # which logs it
        lines = (message or "").splitlines() if status < 500 else []
        detail = ascii(lines[0][:200])[1:-1] if lines else "Internal Server Error"
        response = web.json_response({"detail": detail}, status=status)
        response.force_close()
        return response
