"""Take the pictures of docs/images from what the demo leaves, in Debian's chromium.

python scripts/pictures.py [RUN]
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
# Milliseconds; machines may be busy.
PATIENCE = 300_000
RESPONSES = ("red", "blue", "I cannot see an object here.")


def main() -> None:
    """Take both pictures from a run folder, ``runs/demo`` by default."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as play:
        # The sandbox needs rights that containers do not give.
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 690})
        page.set_default_timeout(PATIENCE)
        page.goto((run / "report.html").resolve().as_uri(), wait_until="domcontentloaded")
        keep("report.png", page.screenshot())
        with server(run / "model") as address:
            page.set_viewport_size({"width": 1000, "height": 800})
            page.goto(address)
            page.locator("#file").set_input_files(run / "scene.png")
            page.get_by_alt_text("scene.png").wait_for()
            page.get_by_label("Prompt").fill("What color is the object?")
            for place, text in enumerate(RESPONSES, 1):
                if place > 2:
                    page.get_by_role("button", name="Add a response").click()
                page.get_by_label(f"Response {place}").fill(text)
            page.get_by_role("button", name="Score").click()
            page.get_by_role("heading", name="Rewards").wait_for()
            keep("serving.png", page.screenshot(full_page=True))
        browser.close()


@contextmanager
def server(model: Path) -> Iterator[str]:
    """Serve a model on a free port; its address."""
    command = [sys.executable, "-m", "basereward", "serve", str(model), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            stream: Any = process.stderr
            yield next(found[0] for line in stream if (found := re.search(r"http://[\d.]+:\d+", line)))
        finally:
            process.terminate()


def keep(name: str, picture: bytes) -> None:
    """Write a picture with 256 colours, a third of its size."""
    Image.open(BytesIO(picture)).convert("RGB").quantize(256).save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    main()
