"""Take the README's pictures from pages made from real logs: `make screenshots`."""

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from ktrace.analysis import analyse
from ktrace.cli import main
from ktrace.reporters import html
from tests.browser.conftest import FIXTURES, FLAGS
from tests.browser.test_notebook import LOGS, run_page

WIDE = {"width": 1184, "height": 830}


def take(browser: Any, page: Path, picture: Path, window: dict[str, int], theme: str) -> None:
    """Take the top of a page, as large as the window."""
    context = browser.new_context(viewport=window, color_scheme=theme)
    opened = context.new_page()
    opened.goto(page.as_uri())
    opened.screenshot(path=picture)
    context.close()
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(picture, optimize=True)
    print(f"{picture} {picture.stat().st_size // 1024} KB")


def pages(folder: Path) -> tuple[Path, Path]:
    """Write a race report and a comparison."""
    report, check = folder / "report.html", folder / "check.html"
    text = html.render(analyse([str(FIXTURES / name) for name in LOGS]))
    report.write_text(text, encoding="utf-8")
    logs = [str(FIXTURES / f"haproxy-before-{name}/trace") for name in ("delayed", "local")]
    base = ["--baseline", str(FIXTURES / "haproxy-after-delayed/trace")]
    main(["check", *logs, *base, "--html", str(check)])
    return report, check


def take_all(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            report, check = pages(Path(name))
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        take(browser, report, target / "race-report-light.png", WIDE, "light")
        take(browser, report, target / "race-report-dark.png", WIDE, "dark")
        take(browser, check, target / "check.png", WIDE, "light")
        browser.close()
        os.environ["MPLBACKEND"] = "Agg"
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            run_page(Path(name))
        shutil.copy(Path(name) / "fallback.png", target / "fallback.png")


if __name__ == "__main__":
    take_all(Path(sys.argv[1]))
