// One object a conversation. What a model says enters the page as text nodes only.

class Conversation {
  id = crypto.randomUUID();
  history = [];
  transports = { websocket: new OverWebSocket(), http: new OverHttp() };

  constructor(place) {
    const made = document.querySelector("template").content.cloneNode(true);
    this.turns = made.querySelector(".turns");
    this.form = made.querySelector("form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(this.form.question.value, this.form.transport.value);
      this.form.question.value = "";
    });
    this.form.stop.addEventListener("click", () => this.stop());
    place.append(made);
  }

  async ask(question, transport) {
    this.stop();
    const answer = this.turn(question);
    const stopping = new AbortController();
    this.running = { answer, stopping };
    this.form.stop.disabled = false;
    const asked = { conversation_id: this.id, question, history: this.history };
    try {
      await this.transports[transport].ask(asked, stopping.signal, (message) => this.take(message, question, answer));
    } catch (error) {
      if (!stopping.signal.aborted) {
        fail(answer, error.message);
      }
    }
    if (answer.dataset.state === "coming") {
      fail(answer, "the answer broke off");
    }
    if (this.running?.answer === answer) {
      this.form.stop.disabled = true;
      this.running = null;
    }
  }

  take(message, question, answer) {
    if (answer.dataset.state !== "coming") {
      return;
    }
    if (message.token !== undefined) {
      answer.append(message.token);
    } else if (message.complete !== undefined) {
      // The program's own answer has the last word: what was streamed may have been parsed or trimmed since.
      if (answer.textContent !== message.complete) {
        answer.replaceChildren(message.complete);
      }
      answer.dataset.state = "complete";
      this.history.push({ question, answer: message.complete });
    } else {
      fail(answer, message.error);
    }
  }

  stop() {
    if (this.running) {
      this.running.answer.dataset.state = "stopped";
      this.running.stopping.abort();
      this.running = null;
      this.form.stop.disabled = true;
    }
  }

  turn(question) {
    const asked = Object.assign(document.createElement("p"), { className: "question", textContent: question });
    const answer = Object.assign(document.createElement("p"), { className: "answer" });
    answer.dataset.state = "coming";
    this.turns.append(asked, answer);
    return answer;
  }
}

class OverHttp {
  async ask(asked, signal, take) {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("answer", { method: "POST", headers, body: JSON.stringify(asked), signal });
    if (!response.ok) {
      throw new Error(`HTTP ${response.status}`);
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      const lines = (rest + read.value).split("\n");
      rest = lines.pop();
      lines.forEach((line) => take(JSON.parse(line)));
    }
  }
}

// A socket for each answer: closing it ends the answer, and its last tokens reach no other one.
class OverWebSocket {
  ask(asked, signal, take) {
    const socket = new WebSocket(new URL("chat", location.href.replace(/^http/, "ws")));
    signal.addEventListener("abort", () => socket.close());
    socket.onopen = () => socket.send(JSON.stringify(asked));
    socket.onmessage = ({ data }) => take(JSON.parse(data));
    return new Promise((resolve, reject) => {
      socket.onclose = ({ wasClean }) => (wasClean ? resolve() : reject(new Error("the connection broke")));
    });
  }
}

function fail(answer, why) {
  answer.dataset.state = "failed";
  answer.dataset.error = why;
}

const place = document.querySelector("main");
document.querySelector("#another").addEventListener("click", () => new Conversation(place));
new Conversation(place);
