"""The pages in a real browser: every scene wide and narrow, light and dark; live, then without a connection. Screenshots are kept where
PARITY_SCREENSHOTS names a folder."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from web.fake_desk import FakeDesk, entry, scene, with_report

from parityd.web import report_page, server
from parityd.web.api import Web
from parityd.web.metrics import Metrics

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]
SIZES = {"wide": (1280, 900), "narrow": (360, 780)}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Served:
    """A desk served in this loop."""

    def __init__(self, desk):
        self.desk, self.stop, self.web = desk, asyncio.Event(), Web(desk, Metrics("1"))

    async def __aenter__(self):
        up = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(server.serve(self.web, "127.0.0.1", 0, self.stop, lambda _, port: up.set_result(port)))
        self.url = f"http://127.0.0.1:{await asyncio.wait_for(up, 5)}"
        return self

    async def __aexit__(self, *_):
        self.stop.set()
        await asyncio.wait_for(self.task, 5)
        self.web.close()


@pytest.fixture
async def browser():
    async with playwright.async_playwright() as p:
        found = await p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        await found.close()


async def opened(browser, size="wide", scheme="light"):
    width, height = SIZES[size]
    page = await browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: page.complaints.append(str(e)))
    return page


async def keep(page, name):
    if folder := os.environ.get("PARITY_SCREENSHOTS"):
        await page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("name", ["empty", "one", "fifty", "long", "emergency"])
async def test_each_scene_fits_complains_of_nothing_and_is_accessible(browser, name):
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="axe-playwright-python is not installed").Axe()
    desk = with_report(scene(name))
    paths = ["/", "/reports", "/reports/2026-11-19", *[f"/strategies/{n}" for n in list(desk.strategies)[:1]]]
    async with Served(desk) as served:
        for size in SIZES:
            for scheme in ("light", "dark"):
                page = await opened(browser, size, scheme)
                for path in paths:
                    await page.goto(served.url + path)
                    overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    assert overflow <= 0, (path, size, overflow)
                    if (size, scheme) in (("wide", "light"), ("narrow", "dark")):  # each width and each scheme once
                        found = await axe.run(page)
                        assert found.violations_count == 0, (path, size, scheme, found.generate_report())
                    await keep(page, f"{name}{path.replace('/', '_')}-{size}-{scheme}")
                assert page.complaints == []
                await page.close()


@pytest.mark.parametrize("name", ["fifty", "long"])
async def test_no_width_between_a_phone_and_a_wall_makes_a_page_overflow(browser, name):
    desk = with_report(scene(name))
    async with Served(desk) as served:
        page = await opened(browser)
        for path in ("/", f"/strategies/{next(iter(desk.strategies))}", "/reports/2026-11-19"):
            await page.goto(served.url + path)
            for width in (320, 480, 600, 737, 800, 900, 1000, 1088, 1089, 1200, 1600):
                await page.set_viewport_size({"width": width, "height": 900})
                assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, (path, width)


async def test_a_change_is_seen_at_once_and_focus_stays(browser):
    import random

    desk = scene("one")
    async with Served(desk) as served:
        page = await opened(browser)
        await page.goto(served.url)
        await page.get_by_role("link", name="momentum").focus()
        desk.strategies["momentum"] = entry("EMERGENCY_STOP", random.Random(1), "HALT stands")
        desk.beat = 0.05
        await page.wait_for_selector("#in-force:has-text('EMERGENCY_STOP')", timeout=15_000)
        assert await page.evaluate("document.activeElement.textContent") == "momentum"
        assert "EMERGENCY_STOP" in await page.text_content("#said")
        assert page.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_without_a_connection_the_page_goes_grey_and_says_its_age_and_comes_back(browser, scheme):
    served = Served(scene("emergency"))
    await served.__aenter__()
    page = await opened(browser, "wide", scheme)
    await page.clock.install()
    await page.goto(served.url)
    assert not await page.is_visible("#old")
    port = int(served.url.rsplit(":", 1)[1])
    await served.__aexit__()
    for _ in range(4):
        await page.clock.run_for(10_000)
        await asyncio.sleep(0.1)
    assert await page.is_visible("#old")
    assert "No word from parityd for" in await page.text_content("#old")
    assert "EXPIRED" not in (await page.text_content("#live"))
    for _ in range(3):
        await page.clock.run_for(10_000)
        await asyncio.sleep(0.1)
    assert "EXPIRED" in (await page.text_content("#live"))
    assert "grayscale" in await page.evaluate("getComputedStyle(document.getElementById('live')).filter")
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="axe-playwright-python is not installed").Axe()
    await page.clock.resume()
    found = await axe.run(page)
    assert found.violations_count == 0, found.generate_report()  # grey, and still to be read
    stop, web = asyncio.Event(), Web(scene("emergency"), Metrics("1"))
    task = asyncio.create_task(server.serve(web, "127.0.0.1", port, stop))
    for _ in range(20):
        await page.clock.run_for(2000)
        await asyncio.sleep(0.1)
        if not await page.is_visible("#old"):
            break
    assert not await page.is_visible("#old")
    stop.set()
    await task
    web.close()


async def test_a_script_in_a_record_is_shown_and_not_run(browser):
    import random

    evil = "<script>window.hit=1</script><img src=x onerror='window.hit=2'>"
    desk = with_report(FakeDesk({"s": entry("WARNING", random.Random(1), evil)}))
    original = desk.trades
    desk.trades = lambda *a: ([{**t, "symbol": evil} for t in original(*a)[0]], None)
    desk.reports["2026-11-19"]["headline"] = evil
    async with Served(desk) as served:
        page = await opened(browser)
        for path in ("/", "/strategies/s", "/reports", "/reports/2026-11-19"):
            await page.goto(served.url + path)
            assert evil in await page.text_content("body")
            assert await page.evaluate("window.hit === undefined && document.images.length === 0")
        assert page.complaints == []


async def test_a_report_stands_alone_as_a_file_and_sorts(browser, tmp_path):
    desk = with_report(scene("emergency"))
    file = tmp_path / "report.html"
    file.write_bytes(report_page.render(desk.reports["2026-11-19"]))
    page = await opened(browser)
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    await page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    column = "[...document.querySelectorAll('#summary-table tbody tr')].map(r => parseFloat(r.cells[2].textContent))"
    await page.get_by_role("button", name="Tracking error, bps").first.click()
    up = await page.evaluate(column)
    await page.get_by_role("button", name="Tracking error, bps").first.click()
    down = await page.evaluate(column)
    assert up == sorted(up) and down == up[::-1] and len(up) == 3
    assert page.complaints == []
