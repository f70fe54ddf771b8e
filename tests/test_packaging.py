from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from importlib.metadata import Distribution, distribution, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
from packaging.requirements import Requirement

import otel_tokenstream
from otel_tokenstream import environment
from otel_tokenstream.settings import catalogue
from tests import zero_code

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "otel_tokenstream"
CONSTRAINTS = ROOT / "constraints.txt"
PROVEN = {"litellm", "dspy", "openai", "httpx", "httpx2", "opentelemetry-sdk", "opentelemetry-instrumentation"}
BASE = {"opentelemetry-api", "opentelemetry-instrumentation", "wrapt"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=180)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def base_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site directory with what a base install has and nothing else, linked from this environment."""
    site = tmp_path_factory.mktemp("site")
    for each in _with_requirements(distribution("otel-tokenstream"), {}).values():
        link(each, site)
    if not (site / "otel_tokenstream").exists():  # an editable install has no files there
        (site / "otel_tokenstream").symlink_to(PACKAGE)
    return site


def link(package: Distribution, site: Path) -> None:
    for file in package.files or ():
        target = site / file
        if ".." not in file.parts and file.suffix != ".pth" and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(package.locate_file(file))


def _with_requirements(root: Distribution, found: dict[str, Distribution]) -> dict[str, Distribution]:
    found[root.name] = root
    for text in root.requires or ():
        requirement = Requirement(text)
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in found:
            _with_requirements(distribution(requirement.name), found)
    return found


def on_base(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an isolated interpreter that sees nothing but the standard library and a site directory."""
    code = f"import sys; sys.path.insert(0, {str(site)!r}); sys.argv = sys.argv[1:]; exec(sys.argv.pop(0))"
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    """Page, type marker and all modules are installed, tests and benchmarks are not."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    present = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    assert packed == {name for name in present if "__pycache__" not in name}
    assert {"otel_tokenstream/py.typed", "otel_tokenstream/viewer/page/index.html"} <= packed


def test_a_base_install_needs_three_distributions(metadata: Message) -> None:
    """The API, the instrumentation base and wrapt; everything else stands in an extra."""
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", ())]
    assert {each.name for each in requirements if each.marker is None} == BASE


def test_no_requirement_is_pinned(metadata: Message) -> None:
    """An application must be able to choose its versions; exact ones stand in the constraints files only."""
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", ())]
    assert not [str(each) for each in requirements if any(part.operator == "==" for part in each.specifier)]


def test_this_environment_has_the_versions_that_are_said_to_be_tested() -> None:
    """A package of the tests that holds a library back would let them pass with an older one."""
    pinned = [Requirement(line) for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if line[0].isalpha()]
    wanted = {
        each.name: str(each.specifier).removeprefix("==")
        for each in pinned
        if each.name in PROVEN and (each.marker is None or each.marker.evaluate())
    }
    assert set(wanted) == PROVEN
    assert {name: version(name) for name in PROVEN} == wanted


def test_no_requirement_asks_for_an_extra_of_litellms(metadata: Message) -> None:
    """They pin companions of one version: where one is not published, pip takes an older litellm and says nothing."""
    requirements = [Requirement(text) for text in metadata.get_all("Requires-Dist", ())]
    assert not [str(each) for each in requirements if each.name == "litellm" and each.extras]


def test_the_version_is_the_same_everywhere(metadata: Message) -> None:
    """Wheel, installed distribution and the newest heading of the changelog agree."""
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None
    assert metadata["Version"] == version("otel-tokenstream") == heading[1]


def test_exported_names_are_sorted_and_exist() -> None:
    """What __all__ lists can be imported, in the order a reader looks for it."""
    assert otel_tokenstream.__all__ == sorted(otel_tokenstream.__all__)
    assert all(hasattr(otel_tokenstream, name) for name in otel_tokenstream.__all__)


def test_entry_points_load() -> None:
    """Each name that tools look us up by leads to what they expect there."""
    ours = distribution("otel-tokenstream").entry_points
    loaded = {(each.group, each.name): each.load() for each in ours if each.group.startswith("opentelemetry_")}
    assert loaded == {
        ("opentelemetry_instrumentor", "tokenstream_litellm"): otel_tokenstream.LiteLLMInstrumentor,
        ("opentelemetry_instrumentor", "tokenstream_dspy"): otel_tokenstream.DSPyInstrumentor,
        ("opentelemetry_instrumentor", "tokenstream_langchain"): otel_tokenstream.LangChainInstrumentor,
        ("opentelemetry_instrumentor", "tokenstream_openai"): otel_tokenstream.OpenAIInstrumentor,
        ("opentelemetry_instrumentor", "tokenstream_anthropic"): otel_tokenstream.AnthropicInstrumentor,
        ("opentelemetry_instrumentor", "tokenstream_lionagi"): otel_tokenstream.LionAGIInstrumentor,
        ("opentelemetry_instrumentor", "tokenstream_lionpride"): otel_tokenstream.LionprideInstrumentor,
        ("opentelemetry_environment_variables", "tokenstream"): environment,
    }


def test_opentelemetry_instrument_finds_its_requirement_fulfilled() -> None:
    """One of the libraries is enough for the dependency check that precedes loading."""
    assert get_dist_dependency_conflicts(distribution("otel-tokenstream")) is None
    (extra,) = {
        str(each.marker)
        for each in map(Requirement, distribution("otel-tokenstream").requires or ())
        if each.marker is not None and each.marker.evaluate({"extra": "instruments-any"})
    }
    assert extra == 'extra == "instruments-any"'


def test_environment_module_names_our_variables_only() -> None:
    """A name that another distribution lists too would make opentelemetry-instrument fail at its start."""
    listed = {name for name in dir(environment) if name.startswith("OTEL_")}
    ours = {each.environment for each in catalogue().values() if each.environment.startswith("OTEL_TOKENSTREAM_")}
    assert listed == ours
    others = [each for each in entry_points(group="opentelemetry_environment_variables") if each.name != "tokenstream"]
    assert others
    assert not listed & {name for each in others for name in dir(each.load())}


def test_every_variable_is_a_flag_of_opentelemetry_instrument() -> None:
    """The command's own help lists each."""
    shown = zero_code.run("", "--help").stdout
    flags = [f"--{name.removeprefix('OTEL_').lower()} " for name in dir(environment) if name.startswith("OTEL_")]
    assert flags
    assert not [flag for flag in flags if flag not in shown]


def test_a_base_install_imports_and_instruments(base_site: Path) -> None:
    """Without any extra the package loads, and an instrumentor whose library is missing says so."""
    code = (
        "import otel_tokenstream;"
        "otel_tokenstream.LiteLLMInstrumentor().instrument();"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    )
    run = on_base(base_site, code)
    assert run.returncode == 0, run.stderr
    imported = set(run.stdout.split()) - {"__main__"}
    assert imported <= {"opentelemetry", "otel_tokenstream", "packaging", "typing_extensions", "wrapt", "_wrapt"}
    assert '"litellm >= 1.60"' in run.stderr


DOCTOR = "import sys; from otel_tokenstream.cli import main; sys.exit(main(['doctor', '--json']))"


def complaints(run: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What doctor calls no ok, and what mends it."""
    assert run.stdout, run.stderr
    return {each["check"]: each["fix"] for each in json.loads(run.stdout)["findings"] if each["level"] != "ok"}


def test_doctor_works_on_a_base_install(base_site: Path) -> None:
    """It names what is missing there, with the extras that bring it, and nothing else."""
    run = on_base(base_site, DOCTOR)
    assert run.returncode == 1
    assert complaints(run) == {
        "libraries": 'pip install "otel-tokenstream[litellm]"',
        "sdk": 'pip install "otel-tokenstream[auto]"',
    }


def test_doctor_names_a_missing_distro(base_site: Path, tmp_path: Path) -> None:
    """With the SDK alone opentelemetry-instrument starts nothing."""
    site = tmp_path / "site"
    shutil.copytree(base_site, site, symlinks=True)
    for name in ("opentelemetry-sdk", "litellm", "aiohttp"):
        link(distribution(name), site)
    run = on_base(site, DOCTOR.replace("'--json'", "'--json', '--no-probe'"))
    assert complaints(run) == {"sdk": 'pip install "otel-tokenstream[auto]"'}


def test_importing_the_package_leaves_heavy_libraries_alone() -> None:
    """Also where everything is installed, an import brings neither SDK nor instrumented library nor server."""
    code = (
        "import otel_tokenstream, sys;"
        "print(*(name for name in sys.modules if name.startswith(('litellm', 'dspy', 'langchain', 'aiohttp', 'grpc',"
        " 'plotly', 'rich', 'opentelemetry.sdk', 'opentelemetry.exporter'))))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180)
    assert run.stdout == "\n"


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded Python")
def test_importing_the_package_leaves_the_gil_off() -> None:
    """An extension module that does not declare itself safe would switch it on for the whole process."""
    importlib.import_module("otel_tokenstream.patches.litellm")
    assert not sys._is_gil_enabled()
