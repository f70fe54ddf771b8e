"""Draws dashboards in Chromium with Grafana's components, and takes their pictures."""

from __future__ import annotations

import base64
import contextlib
import json
import mimetypes
import shutil
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.dashboards_harness.building import HERE, built

_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1600,1200")
WIDTH = 1600
# What Grafana's styles ask for, by packages of fonts; every other one is Roboto Mono.
_FONTS = {
    "Inter-Regular.woff2": "inter/files/inter-latin-400-normal.woff2",
    "Inter-Medium.woff2": "inter/files/inter-latin-500-normal.woff2",
}
_MONO = "roboto-mono/files/roboto-mono-latin-400-normal.woff2"


class Drawing:
    """A browser with the page open."""

    def __init__(self, driver, url):
        self.driver = driver
        driver.set_script_timeout(90)
        driver.get(url)

    def draw(self, dashboard, answers, *, start, end, variables, rows=None, colours="dark"):
        """Draw a dashboard, or only its rows of these titles."""
        message = {
            "dashboard": dashboard,
            "answers": answers,
            "range": {"from": start * 1000, "to": end * 1000},
            "variables": variables,
            "colours": colours,
            "rows": rows,
        }
        script = """
            const done = arguments[1];
            window.draw(JSON.parse(arguments[0]))
                .then((height) => done({height}), (error) => done({error: error.stack}));
        """
        done = self.driver.execute_async_script(script, json.dumps(message))
        if "error" in done:
            raise AssertionError(done["error"])
        return done["height"]

    def picture(self, path, height=None):
        """Save what is drawn, from the top, ``height`` pixels of it."""
        height = height or self.driver.execute_script("return document.getElementById('page').scrollHeight")
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 0.75}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def panel_picture(self, title, path):
        """Save one panel."""
        box = self.driver.execute_script(
            "const r = document.querySelector(`[data-panel=${JSON.stringify(arguments[0])}]`).getBoundingClientRect();"
            "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}",
            title,
        )
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": box, "captureBeyondViewport": True})
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def panels(self):
        """Return, by title, whether a panel is drawn, empty, or was left blank by its component."""
        script = """
            const found = {};
            for (const box of document.querySelectorAll('[data-panel]:not([data-kind=row])')) {
                const drawn = box.querySelector('canvas, [role=grid], [data-drawn], button, [class*=BigValue]')
                    || /\\S/.test(box.querySelector('[class*=panel-content]')?.textContent ?? '');
                found[box.dataset.panel] = box.querySelector('[data-empty]') ? 'empty' : drawn ? 'drawn' : 'blank';
            }
            return found;
        """
        return self.driver.execute_script(script)

    def problems(self):
        """Return errors of the page since the last call."""
        return [each["message"] for each in self.driver.get_log("browser") if each["level"] == "SEVERE"]


@contextlib.contextmanager
def drawing():
    """Serve the page on loopback and open it."""
    script, style, icons, fonts = built()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.split("?")[0]
            file = {"/": HERE / "harness.html", "/page.js": script, "/page.css": style}.get(path)
            if path.startswith("/public/build/"):
                file = icons / path.removeprefix("/public/build/")
            elif path.startswith("/public/fonts/"):
                file = fonts / _FONTS.get(path.rpartition("/")[2], _MONO)
            if file is None or not file.is_file():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", mimetypes.guess_type(file.name)[0] or "text/html")
            self.end_headers()
            self.wfile.write(file.read_bytes())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for option in (*_OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield Drawing(driver, f"http://127.0.0.1:{server.server_port}/")
        finally:
            driver.quit()
            server.shutdown()
