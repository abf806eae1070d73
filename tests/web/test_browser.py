"""The page in a real Chromium: list, search, play, keyboard, and words that stay words."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime

import pytest

from tests.web.reading import HOSTILE, make, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


async def until(page, truth):
    """Wait in steps of our own: the page's policy forbids to evaluate text in it."""
    for _ in range(200):
        if await page.evaluate(truth):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(truth)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
async def test_a_call_is_found_read_and_heard(tmp_path):
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    folder = tmp_path / "archive"
    await make(folder)
    async with (
        serving(folder) as url,
        playwright.async_playwright() as driver,
        await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser,
    ):
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        complaints: list[str] = []
        ranges: list[tuple[str | None, int]] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))

        async def heard(response):
            if response.url.endswith("/audio"):
                ranges.append((response.request.headers.get("range"), response.status))

        page.on("response", heard)

        await page.goto(url.split("?")[0])
        assert "has a token" in await page.inner_text("body")
        complaints.clear()  # the browser's own about that 403

        await page.goto(url)
        await page.wait_for_selector("#calls li")
        assert "token" not in page.url
        assert await page.locator("#calls li").count() == 5

        await page.keyboard.press("j")  # the newest call
        await page.wait_for_selector("#turns li")
        said = await page.locator("#turns .said").all_inner_texts()
        assert said == [HOSTILE, "Grüße an Frau Müller"]
        assert await page.locator("#turns script, #turns img").count() == 0
        assert await page.title() == "Calls"

        await until(page, "document.getElementById('audio').readyState >= 2")
        await page.keyboard.press(" ")
        await until(page, "document.getElementById('audio').currentTime > 0.2")
        assert await page.get_attribute("#play", "aria-label") == "Pause"
        await page.keyboard.press("ArrowRight")
        await until(page, "document.getElementById('audio').currentTime > 5")
        assert await page.locator("#turns li.now").count() == 1
        await page.keyboard.press(" ")
        assert ranges
        assert all(asked is not None and status == 206 for asked, status in ranges)
        size = (await page.evaluate(BYTES))[0]
        (recording,) = folder.glob(f"{datetime(2026, 1, 14, tzinfo=UTC):%Y/%m/%d}/*.wav")
        assert size == recording.read_bytes()[100:200].hex()

        assert await page.locator("#calls li[tabindex='0']").count() == 1
        await page.keyboard.press("/")
        await page.keyboard.type("nothing like it")
        await page.wait_for_selector("#empty", state="visible")
        await page.keyboard.press("Escape")
        await page.keyboard.press("/")
        await page.keyboard.type("zebra")
        await until(page, "document.querySelectorAll('#calls li').length === 1")
        assert await page.inner_text("#calls mark") == "zebra"
        await page.set_viewport_size({"width": 390, "height": 844})
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#back", state="visible")
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390
        await page.click("#back")
        await page.wait_for_selector("#q", state="visible")
        assert complaints == []


BYTES = """async () => {
  const answer = await fetch(document.getElementById('audio').src, {headers: {Range: 'bytes=100-199'}});
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return [[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(''), answer.status];
}"""
