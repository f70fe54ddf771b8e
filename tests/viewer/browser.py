"""Debian's chromium, without a window and without a network, looking at the viewer's page."""

from __future__ import annotations

import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

    from otel_tokenstream.viewer.server import Viewer

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1360,1000",
)
_DRIVER = "/usr/bin/chromedriver"
_PATIENCE = 60


class Browser:
    def __init__(self, profile: Path) -> None:
        binary = shutil.which("chromium")
        if binary is None or shutil.which(_DRIVER) is None:
            pytest.fail("the page's tests need a browser: apt-get install chromium chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for option in (*_OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(_DRIVER))

    def open(self, viewer: Viewer, fragment: str = "") -> None:
        self.driver.get("about:blank")  # a changed fragment alone would not load the page anew
        self.driver.get(f"{viewer.url}/{fragment}")

    def leave(self) -> None:
        """Close all tabs but one, and the page in it: it would miss its server, which may stop now."""
        first, *others = self.driver.window_handles
        for handle in others:
            self.driver.switch_to.window(handle)
            self.driver.close()
        self.driver.switch_to.window(first)
        if self.driver.current_url.startswith("http"):
            self.run("sessionStorage.clear()")
        self.driver.get("about:blank")

    def close(self) -> None:
        self.driver.quit()

    def console(self) -> list[str]:
        """What was written to the console since the last call: errors, policy violations, anything."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def count(self, selector: str) -> int:
        """In the page: a reference to each of many elements is dear."""
        found: int = self.run("return document.querySelectorAll(arguments[0]).length", selector)
        return found

    def one(self, selector: str) -> WebElement:
        return self.until(lambda: self.all(selector), f"no {selector}")[0]

    def click(self, selector: str) -> None:
        """Once more where a live page has put another element in its place between finding and clicking it."""
        waiting = WebDriverWait(self.driver, _PATIENCE, 0.1, [StaleElementReferenceException])
        waiting.until(lambda _: self.one(selector).click() is None, f"no {selector} to click")

    def texts(self, selector: str) -> list[str]:
        """All at once in the page, because a live list may replace an element between two calls."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)", selector
        )
        return found

    def until(self, condition: Callable[[], Any], otherwise: str) -> Any:
        return WebDriverWait(self.driver, _PATIENCE, 0.1).until(lambda _: condition(), otherwise)

    def until_drawn(self, selector: str = ".picture") -> None:
        self.until(lambda: self.count(f"{selector} svg .scatterlayer .trace"), "no chart was drawn")

    def choose(self, name: str, value: str) -> None:
        Select(self.one(f"select[name={name}]")).select_by_value(value)

    def prefer(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def resize(self, width: int, height: int) -> None:
        """The page's own size; headless windows have a least width. Until the page is left."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def violations(self) -> list[str]:
        """What axe finds wrong with the page for readers who use other means, each with its place."""
        source = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.driver.execute_script(source)
        found = self.driver.execute_async_script(
            "axe.run({resultTypes: ['violations']}).then(arguments[arguments.length - 1])"
        )
        return [
            f"{each['id']}: {each['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:200]}"
            for each in found["violations"]
            for node in each["nodes"][:3]
        ]
