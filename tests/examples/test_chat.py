"""The chat of the examples in Debian's chromium, its answers from scripts that are known."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack, contextmanager
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
from tests.examples.example_programs import answering, command, environment, exported
from tests.processes.received import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
        """In the newest conversation of the page."""
        *_, form = self.look().all("form")
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


@dataclass(frozen=True)
class Chat:
    """The running chat, the provider it asks, where its spans go and what it wrote as errors."""

    process: subprocess.Popen[str]
    url: str
    provider: ScriptedProvider
    receiver: Receiver
    errors: Path


@contextmanager
def chat(errors: Path) -> Iterator[Chat]:
    with ScriptedProvider() as provider, Receiver() as receiver, errors.open("w") as file:
        process = subprocess.Popen(
            command(provider, "chat"),
            env=environment(**exported(receiver), OTEL_BSP_SCHEDULE_DELAY="100"),
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            found = (re.match(r"http://127\.0\.0\.1:\d+", line) for line in process.stdout)
            yield Chat(process, next(match[0] for match in found if match), provider, receiver, errors)
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Chat]]:
    """Gives the one chat of this file, with whose server its tests take turns; a new one if that has ended."""
    with ExitStack() as stack:
        chats: list[Chat] = []

        def running() -> Chat:
            if not chats or chats[-1].process.poll() is not None:
                chats.append(stack.enter_context(chat(tmp_path_factory.mktemp("chat") / "errors")))
            return chats[-1]

        yield running


@pytest.fixture
def served(started: Callable[[], Chat]) -> Chat:
    return started()


@pytest.fixture
def asked(served: Chat) -> ScriptedProvider:
    served.provider.reset()
    served.provider.scripts["test"] = answering(ANSWERS, gap=0.003)
    return served.provider


@pytest.fixture
def tabs(open_browser: Browser, served: Chat) -> Iterator[tuple[Tab, Tab]]:
    """Two tabs with a new conversation each, and at the end a console without an error or a policy violation."""
    driver, opened = open_browser.driver, []
    while len(driver.window_handles) < 2:
        driver.switch_to.new_window("tab")
    for handle in driver.window_handles:
        opened.append(Tab(open_browser, handle, served.url))
        opened[-1].look().driver.get(served.url)
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
    asked.scripts["test"] = answering(ANSWERS, gap=0.03)
    left.ask("apples?", transport)
    right.ask("pears?", "websocket" if transport == "http" else "http")
    assert left.until("complete") == [ANSWERS["apples?"]]
    assert right.until("complete") == [ANSWERS["pears?"]]
    first, second = asked.log.settled(2)
    assert second.received_ns < (first.ended_ns or 0)


def test_conversations_of_one_page_are_apart(tabs: tuple[Tab, Tab], asked: ScriptedProvider) -> None:
    """Side by side in one document, each shows its own answer and has an id of its own."""
    browser = tabs[0].look()
    browser.click("#another")
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
    browser.click("button[name=stop]")
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
def test_reader_who_leaves_ends_the_stream_and_the_span_says_so(
    transport: str, tabs: tuple[Tab, Tab], asked: ScriptedProvider, served: Chat
) -> None:
    """The provider's connection goes with the tab, and what was asked for in vain is told as cancelled."""
    asked.scripts["test"] = answering(ANSWERS, ends_after=30, ending="hang")
    conversation, (tab, _) = f"left over {transport}", tabs
    tab.look().run("const id = arguments[0]; crypto.randomUUID = () => id;", conversation)
    tab.browser.click("#another")
    tab.ask("apples?", transport)
    tab.browser.until(lambda: "apple003" in "".join(tab.browser.texts(".answer")), "no words came")
    tab.browser.driver.get("about:blank")
    (exchange,) = asked.log.settled()
    assert exchange.ended == "disconnected"

    def outcomes() -> list[str]:
        spans = (span["attributes"] for span in served.receiver.spans)
        return [each[signals.OUTCOME] for each in spans if each[signals.CONVERSATION_ID] == conversation]

    tab.browser.until(outcomes, "its span did not come")
    assert outcomes() == ["cancelled"]


def test_failure_of_the_provider_is_told_without_its_text(tabs: tuple[Tab, Tab], asked: ScriptedProvider) -> None:
    """The page names the error's class; what the provider wrote into it may not be for its reader."""
    asked.scripts["test"] = Script(ending="http_error", status=400, error_message="secret")
    tab, _ = tabs
    tab.ask("apples?", "websocket")
    tab.until("failed")
    assert "secret" not in tab.look().driver.page_source
    assert tab.look().one(".answer").get_attribute("data-error").endswith("Error")


def test_pages_of_other_sites_cannot_ask(served: Chat, asked: ScriptedProvider) -> None:
    """A site that is open in the same browser gets neither a socket nor an answer out of this server."""
    url = served.url
    with pytest.raises(InvalidStatus):
        connect(f"{url.replace('http', 'ws', 1)}/chat", origin="https://elsewhere.example", proxy=None)
    question = '{"conversation_id": "x", "question": "apples?"}'
    rebound = httpx.post(f"{url}/answer", content=question, headers={"Host": "elsewhere.example"}, trust_env=False)
    assert rebound.status_code == 400
    simple = httpx.post(f"{url}/answer", content=question, headers={"Content-Type": "text/plain"}, trust_env=False)
    assert simple.status_code == 422
    assert asked.log.exchanges() == []


def test_chat_ends_by_ctrl_c_in_silence(served: Chat) -> None:
    """Once the address stands there, Ctrl-C ends it at once, without a traceback."""
    before = served.errors.read_text()
    subprocess.run(["kill", "-INT", "--", f"-{served.process.pid}"], check=True)
    assert served.process.communicate(timeout=180)[0] == ""
    assert served.process.returncode == 0
    assert served.errors.read_text() == before
