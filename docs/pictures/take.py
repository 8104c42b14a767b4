"""Takes the pictures of the documentation from the running product: `python docs/pictures/take.py` (needs Chromium, playwright and pillow).

1. The real daemon runs over the bundled sample, on its replay clock; nothing is drawn by hand.
2. A picture stays below 150 KB: a palette of 64 colours is enough for pages of text and lines.
"""

import asyncio
import contextlib
import io
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, async_playwright

HERE = Path(__file__).parent
LARGEST = 150_000
FLAGS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
# name, path, width, height, colours, how far down
SHOTS = [
    ("status", "/", 1200, 560, "light", 0),
    ("strategy", "/strategies/LimitFade-6E", 1200, 830, "light", 0),
    ("report", "/reports/2024-01-08", 1200, 620, "light", 0),
    ("report-charts", "/reports/2024-01-08", 1200, 1200, "light", 1290),
]
Shot = tuple[str, str, int, int, str, int]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def has_report(base: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/reports/2024-01-08", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


async def shoot(base: str, shots: list[Shot]) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    async with async_playwright() as p:
        browser = await p.chromium.launch(executable_path=chromium, args=FLAGS)
        for shot in shots:
            save(shot[0], await picture(browser, base, shot))
        await browser.close()


async def picture(browser: Browser, base: str, shot: Shot) -> bytes:
    _, path, width, height, colours, down = shot
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if colours == "dark" else "light")
    page = await context.new_page()
    await page.goto(base + path)
    await page.mouse.wheel(0, down)
    await page.wait_for_timeout(800)
    return await page.screenshot()


def save(name: str, png: bytes) -> None:
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    if len(out.getvalue()) > LARGEST:
        sys.exit(f"{name}: {len(out.getvalue())} bytes")
    (HERE / f"{name}.png").write_bytes(out.getvalue())
    sys.stdout.write(f"{name}.png: {len(out.getvalue()) // 1024} KiB\n")


def main() -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "parityd", "demo", "--speed", "1200", "--port", str(port), "--keep", f"{folder}/demo"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as demo:
            end = time.monotonic() + 600
            while not has_report(base):
                if demo.poll() is not None or time.monotonic() > end:
                    sys.exit("the demo wrote no report")
                time.sleep(0.5)
            asyncio.run(shoot(base, SHOTS))
            demo.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
