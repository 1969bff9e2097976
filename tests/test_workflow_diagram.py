"""Pictures of workflows: complete, and with nothing lying on anything else."""

from __future__ import annotations

import itertools
import re
import sys
import xml.etree.ElementTree as ET
from datetime import date
from pathlib import Path

import pytest
from contract.workflows import BOOKING, HURRIED
from hypothesis import given, settings
from hypothesis import strategies as st

from redstate import Guard, Step, Workflow
from redstate.cli import main
from redstate.workflow.diagram import duration, mermaid
from redstate.workflow.diagram_layout import Wire, lay_out
from redstate.workflow.diagram_svg import svg

CLAIM = Workflow(
    "claim",
    [
        Step("greeting", next=["identify", "faq"]),
        Step("faq", next=["faq", "identify", "closed"]),
        Step(
            "identify",
            collects={"policy": str, "born": date},
            next=["describe", "human"],
            guards=[Guard("policy <known>; yes", lambda data: True, "Unknown", to="describe")],
            time_limit=120,
            on_timeout="human",
        ),
        Step("describe", collects={"what": str | None}, next=["closed", "identify"], requires_login=True),
        Step("human", next=["describe", "closed"]),
        Step("closed", final=True),
    ],
)
SVG = "{http://www.w3.org/2000/svg}"


def test_mermaid_shows_every_step_and_every_way() -> None:
    text = mermaid(BOOKING)
    assert text.startswith("---\ntitle: booking\n---\nstateDiagram-v2\n")
    for line in (
        "[*] --> initial",
        "initial --> collecting_dates",
        "collecting_dates --> collecting_guests",
        "collecting_guests --> ready_to_confirm",
        "ready_to_confirm --> completed",
        "completed --> [*]",
        "collecting_dates : check_in, date",
        "collecting_dates : must hold, dates in order",
    ):
        assert f"    {line}\n" in text
    assert "    offer --> lapsed : after 0.05 s\n" in mermaid(HURRIED)


def test_mermaid_text_has_nothing_that_ends_a_description() -> None:
    for line in mermaid(CLAIM).splitlines():
        assert line.count(" : ") <= 1 and ";" not in line
    taken = Workflow("w", [Step("end", next="State"), Step("State", final=True)])
    assert "end_ --> State_" in mermaid(taken)


def test_two_steps_never_share_an_id_in_mermaid() -> None:
    steps = [Step("end", next="end_"), Step("end_", next="end_1"), Step("end_1", next="done"), Step("done", final=True)]
    text = mermaid(Workflow("w", steps))
    for line in ("[*] --> end_2", "end_2 --> end_", "end_ --> end_1", 'state "end" as end_2', 'state "end_" as end_'):
        assert f"    {line}\n" in text


@pytest.mark.parametrize("workflow", [BOOKING, HURRIED, CLAIM], ids=lambda workflow: workflow.name)
def test_svg_is_well_formed_and_shows_every_step_and_every_way(workflow: Workflow) -> None:
    root = ET.fromstring(svg(workflow))
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    for step in workflow.steps.values():
        assert step.name in texts
        for field in step.collects:
            assert any(text.startswith(f"{field}: ") for text in texts)
    ways = sum(len(step.ways) + (step.on_timeout is not None) for step in workflow.steps.values())
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("class")]
    assert len(arrows) == ways + 1  # and the one that shows where it begins
    finals = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "step final"]
    assert len(finals) == 1 and "cancelled" in texts
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for rect in root.iter(f"{SVG}rect"):
        if rect.get("class"):
            x, y, w, h = (float(rect.get(side, "")) for side in ("x", "y", "width", "height"))
            assert x >= 0 and x + w <= width and y >= 0 and y + h <= height


def test_texts_of_users_are_escaped_in_svg() -> None:
    texts = ["".join(text.itertext()) for text in ET.fromstring(svg(CLAIM)).iter(f"{SVG}text")]
    assert "if policy <known>; yes" in texts


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, tuple[float, float]], list[Wire]]:
    count = draw(st.integers(2, 12))
    names = [f"n{number}" for number in range(count)]
    sizes = {
        name: (draw(st.sampled_from([60.0, 150.0, 260.0])), draw(st.sampled_from([40.0, 120.0]))) for name in names
    }
    # Each is reached from an earlier one; further arrows lead anywhere.
    pairs = [(names[draw(st.integers(0, number - 1))], names[number]) for number in range(1, count)]
    pairs += draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=12))
    label = st.sampled_from([(0.0, 0.0), (80.0, 20.0)])
    return sizes, [Wire(source, target, *draw(label)) for source, target in pairs if source != target]


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_neither_boxes_nor_labels_lie_on_one_another(graph: tuple[dict[str, tuple[float, float]], list[Wire]]) -> None:
    sizes, wires = graph
    layout = lay_out(sizes, wires, "n0")
    areas = [(*layout.boxes[name], *size) for name, size in sizes.items()]
    areas += [(*route.label, wire.label_width, wire.label_height)
              for wire, route in zip(wires, layout.routes, strict=True) if wire.label_width]  # fmt: skip
    for (ax, ay, aw, ah), (bx, by, bw, bh) in itertools.combinations(areas, 2):
        assert abs(ax - bx) >= (aw + bw) / 2 - 0.01 or abs(ay - by) >= (ah + bh) / 2 - 0.01
    for x, y, width, height in areas:
        assert x - width / 2 >= -0.01 and x + width / 2 <= layout.width + 0.01
        assert y - height / 2 >= -0.01 and y + height / 2 <= layout.height + 0.01
    for wire, route in zip(wires, layout.routes, strict=True):
        for end, name in ((route.points[0], wire.source), (route.points[-1], wire.target)):
            (x, y), (width, height) = layout.boxes[name], sizes[name]
            assert abs(end[0] - x) <= width / 2 and abs(abs(end[1] - y) - height / 2) < 0.01


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.05, "0.05 s"), (90, "90 s"), (900, "15 min"), (7200, "2 h"), (86_400.0, "1 d")]
)
def test_durations_are_said_in_the_largest_fitting_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# The command ----------------------------------------------------------------------------------------------------------

MODULE = """
from redstate import Step, Workflow
FLOW = Workflow("flow", [Step("begin", next="done"), Step("done", final=True)])
OTHER = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules of names that no other test uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    name = f"flows_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("1 / 0\n")
    (tmp_path / f"{name}_needy.py").write_text("import no_such_module_at_all\n")
    (tmp_path / f"{name}_wrong.py").write_text("from redstate import Workflow\nFLOW = Workflow('flow', [])\n")
    return tmp_path / name


def test_the_command_prints_mermaid(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workflow", "diagram", f"{folder.name}:FLOW"]) == 0
    assert "begin --> done" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--format", "svg", "-o", "flow.txt"], ["-o", "flow.svg"]])
def test_the_command_writes_svg(folder: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workflow", "diagram", f"{folder.name}:FLOW", *options]) == 0
    assert ET.fromstring((folder.parent / options[-1]).read_text()).tag == f"{SVG}svg"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("{}", "Write it as module:NAME"),
        ("{}:", "Write it as module:NAME"),
        ("no_such_module_here:FLOW", "There is no module no_such_module_here"),
        ("{}.inner:FLOW", "There is no module"),
        ("{}:MISSING", "has no MISSING. It has the workflows FLOW"),
        ("{}:OTHER", "is no Workflow. It has the workflows FLOW"),
        ("{}_broken:FLOW", "cannot be imported: ZeroDivisionError"),
        ("{}_needy:FLOW", "cannot be imported: ModuleNotFoundError"),
        ("{}_wrong:FLOW", "it has no steps"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_line(
    folder: Path, target: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["workflow", "diagram", target.format(folder.name)]) == 2
    said = capsys.readouterr().err
    assert told in said and re.fullmatch(r"error: [^\n]+\n", said)


def test_a_file_that_cannot_be_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["workflow", "diagram", f"{folder.name}:FLOW", "-o", "absent/flow.svg"]) == 2
    assert "cannot be written" in capsys.readouterr().err
