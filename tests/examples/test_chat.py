"""The chat of the examples in Debian's chromium, its answers from scripts that are known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from otel_tokenstream import signals
from otel_tokenstream.demo.provider import Script, ScriptedProvider
from tests.examples.example_programs import answering, chat
from tests.processes.received import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.viewer.browser import Browser

HOSTILE = (
    "<img src=x onerror=\"document.title='taken'\"> <script>document.title='taken'</script> "
    "\x1b[31mred\x1b[0m &amp; <b>"
)
ANSWERS = {
    "apples?": " ".join(f"apple{number:03}" for number in range(60)),
    "pears?": " ".join(f"pear{number:03}" for number in range(60)),
    "hostile?": HOSTILE,
}
both_ways = pytest.mark.parametrize("transport", ["websocket", "http"])


@dataclass
class Tab:
    """One tab of the one browser, which looks at it whenever it is asked something."""

    browser: Browser
    handle: str
    url: str

    def ask(self, question: str, transport: str) -> None:
        self.look()
        form = self.browser.one("form")
        Select(form.find_element(By.NAME, "transport")).select_by_value(transport)
        form.find_element(By.NAME, "question").send_keys(question + "\n")

    def look(self) -> Browser:
        self.browser.driver.switch_to.window(self.handle)
        return self.browser

    def until(self, state: str) -> list[str]:
        """Wait until the last answer is ``complete``, ``coming``, ... and return all answers."""
        browser = self.look()
        shown = f".answer:last-of-type[data-state={state}]"
        browser.until(lambda: browser.all(shown), f"no answer became {state}")
        return browser.texts(".answer")


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[ScriptedProvider, str]]:
    """The chat, with a provider of its own: the tests of this file take turns with one server."""
    with ScriptedProvider() as provider, chat(provider) as url:
        yield provider, url


@pytest.fixture
def asked(served: tuple[ScriptedProvider, str]) -> ScriptedProvider:
    provider, _ = served
    provider.reset()
    provider.scripts["test"] = answering(ANSWERS, gap=0.03)
    return provider


@pytest.fixture
def tabs(open_browser: Browser, served: tuple[ScriptedProvider, str]) -> Iterator[tuple[Tab, Tab]]:
    """Two tabs with a new conversation each, and at the end a console without an error or a policy violation."""
    driver, opened = open_browser.driver, []
    while len(driver.window_handles) < 2:
        driver.switch_to.new_window("tab")
    for handle in driver.window_handles:
        opened.append(Tab(open_browser, handle, served[1]))
        opened[-1].look().driver.get(served[1])
        open_browser.one("form")
    yield opened[0], opened[1]
    for tab in opened:
        assert tab.look().console() == []


@both_ways
def test_two_tabs_at_once_get_each_its_own_answer(
    transport: str, tabs: tuple[Tab, Tab], asked: ScriptedProvider
) -> None:
    """Both answers come in the same seconds, word by word, and no word of one stands in the other."""
    left, right = tabs
    left.ask("apples?", transport)
    right.ask("pears?", "websocket" if transport == "http" else "http")
    assert left.until("complete") == [ANSWERS["apples?"]]
    assert right.until("complete") == [ANSWERS["pears?"]]
    first, second = asked.log.settled(2)
    assert second.received_ns < (first.ended_ns or 0)


def test_conversations_of_one_page_are_apart(tabs: tuple[Tab, Tab], asked: ScriptedProvider) -> None:
    """Side by side in one document, each shows its own answer and has an id of its own."""
    browser = tabs[0].look()
    browser.one("#another").click()
    for form, question in zip(browser.all("form"), ("apples?", "pears?"), strict=True):
        form.find_element(By.NAME, "question").send_keys(question + "\n")
    browser.until(lambda: len(browser.all(".answer[data-state=complete]")) == 2, "the answers did not come")
    assert browser.texts(".answer") == [ANSWERS["apples?"], ANSWERS["pears?"]]
    assert len(asked.log.settled(2)) == 2


@both_ways
def test_tokens_stand_in_the_page_before_the_answer_is_whole(
    transport: str, tabs: tuple[Tab, Tab], asked: ScriptedProvider
) -> None:
    """The words that were sent are read while the provider is silent in mid-answer."""
    asked.scripts["test"] = answering(ANSWERS, gap=0.001, ends_after=60, ending="hang")
    tab, _ = tabs
    tab.ask("apples?", transport)
    browser = tab.look()
    browser.until(lambda: re.fullmatch(r"apple000( apple\d+)+ ?\w*", *browser.texts(".answer")), "no words came")
    assert tab.until("coming")
    browser.one("button[name=stop]").click()
    tab.until("stopped")
    assert asked.log.settled()[0].ended == "disconnected"


@both_ways
def test_conversation_goes_on(transport: str, tabs: tuple[Tab, Tab], asked: ScriptedProvider) -> None:
    """The second question reaches the model with the first answer, of this tab alone."""
    left, right = tabs
    right.ask("hostile?", transport)
    right.until("complete")
    left.ask("apples?", transport)
    left.until("complete")
    left.ask("pears?", transport)
    assert left.until("complete") == [ANSWERS["apples?"], ANSWERS["pears?"]]
    body = asked.log.settled(3)[-1].body.decode()
    assert "apple059" in body
    assert "onerror" not in body


@both_ways
def test_hostile_answer_stays_text(transport: str, tabs: tuple[Tab, Tab], asked: ScriptedProvider) -> None:
    """Markup and control characters of a model are read, not obeyed."""
    del asked
    tab, _ = tabs
    tab.ask("hostile?", transport)
    assert tab.until("complete") == [HOSTILE]
    browser = tab.look()
    assert browser.all(".answer *") == []
    assert browser.driver.title == "Chat"


@both_ways
def test_reader_who_leaves_ends_the_stream_and_the_span_says_so(transport: str, open_browser: Browser) -> None:
    """The provider's connection goes with the tab, and what was asked for in vain is told as cancelled."""
    with ScriptedProvider() as provider, Receiver() as receiver:
        provider.scripts["test"] = answering(ANSWERS, ends_after=30, ending="hang")
        export = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.address, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
        with chat(provider, **export) as url:
            driver = open_browser.driver
            driver.get(url)
            tab = Tab(open_browser, driver.current_window_handle, url)
            tab.ask("apples?", transport)
            open_browser.until(lambda: "apple003" in "".join(open_browser.texts(".answer")), "no words came")
            driver.get("about:blank")
            (exchange,) = provider.log.settled()
        (span,) = receiver.spans
    assert exchange.ended == "disconnected"
    assert span["attributes"][signals.OUTCOME] == "cancelled"
    assert span["attributes"][signals.CONVERSATION_ID]


def test_failure_of_the_provider_is_told_without_its_text(tabs: tuple[Tab, Tab], asked: ScriptedProvider) -> None:
    """The page names the error's class; what the provider wrote into it may not be for its reader."""
    asked.scripts["test"] = Script(ending="http_error", status=400, error_message="secret")
    tab, _ = tabs
    tab.ask("apples?", "websocket")
    tab.until("failed")
    assert "secret" not in tab.look().driver.page_source
    assert tab.look().one(".answer").get_attribute("data-error").endswith("Error")


def test_pages_of_other_sites_cannot_ask(served: tuple[ScriptedProvider, str], asked: ScriptedProvider) -> None:
    """A site that is open in the same browser gets neither a socket nor an answer out of this server."""
    _, url = served
    with pytest.raises(InvalidStatus):
        connect(f"{url.replace('http', 'ws', 1)}/chat", origin="https://elsewhere.example", proxy=None)
    question = '{"conversation_id": "x", "question": "apples?"}'
    rebound = httpx.post(f"{url}/answer", content=question, headers={"Host": "elsewhere.example"}, trust_env=False)
    assert rebound.status_code == 400
    simple = httpx.post(f"{url}/answer", content=question, headers={"Content-Type": "text/plain"}, trust_env=False)
    assert simple.status_code == 422
    assert asked.log.exchanges() == []
