"""A workflow as a self-contained SVG: a box for each step, with what it collects and demands."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from redstate.workflow.definition import Step, Workflow
from redstate.workflow.diagram import CANCELLED_WORDS, Arrow, arrows, notes
from redstate.workflow.diagram_layout import Wire, lay_out

_MARGIN, _PAD, _LINE, _NAME_LINE = 28.0, 14.0, 18.0, 22.0
_NARROWEST, _LOOP = 120.0, 22.0
_STYLE = """
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, "DejaVu Sans", sans-serif; }
  .title { font-size: 17px; font-weight: 600; fill: #0f172a; }
  .name { font-size: 14px; font-weight: 600; fill: #0f172a; }
  .field { font-size: 12px; fill: #334155; }
  .type { fill: #64748b; }
  .note { font-size: 12px; font-style: italic; fill: #92400e; }
  .label { font-size: 12px; fill: #334155; }
  .step { fill: #f8fafc; stroke: #64748b; stroke-width: 1.4; }
  .initial { fill: #eff6ff; stroke: #2563eb; }
  .final { fill: #f0fdf4; stroke: #15803d; }
  .inner { fill: none; stroke: #15803d; stroke-width: 1; }
  .cancelled { fill: #fef2f2; stroke: #b91c1c; stroke-width: 1.4; stroke-dasharray: 5 4; }
  .arrow { fill: none; stroke: #475569; stroke-width: 1.5; }
  .timeout { stroke: #b45309; stroke-dasharray: 6 4; }
"""


@dataclass(frozen=True, slots=True)
class _Box:
    """A step's text and size. A loop to itself needs room on both sides, so that the box stays in the middle."""

    step: Step
    fields: list[tuple[str, str]]
    notes: list[str]
    width: float
    height: float
    loop: Arrow | None
    room: float


def svg(workflow: Workflow) -> str:
    """The workflow as the text of an SVG file."""
    ways = arrows(workflow)
    boxes = {name: _box(workflow, step, ways) for name, step in workflow.steps.items()}
    between = [arrow for arrow in ways if arrow.source != arrow.target]
    wires = [Wire(a.source, a.target, _label_width(a.label), 20.0 if a.label else 0.0) for a in between]
    layout = lay_out(
        {name: (box.width + 2 * box.room, box.height) for name, box in boxes.items()}, wires, workflow.initial
    )
    top = _MARGIN + 56
    pill_width = _width("cancelled", 14, bold=True) + 2 * _PAD
    caption_width = pill_width + 12 + _width(CANCELLED_WORDS, 12)
    width = 2 * _MARGIN + max(layout.width, _width(workflow.name, 17, bold=True), caption_width)
    height = top + layout.height + 84
    left = (width - layout.width) / 2
    routes = [
        ([(x + left, y + top) for x, y in route.points], (route.label[0] + left, route.label[1] + top))
        for route in layout.routes
    ]
    body = [_line(arrow, points) for arrow, (points, _) in zip(between, routes, strict=True)]
    body += [_label(arrow.label, *label) for arrow, (_, label) in zip(between, routes, strict=True) if arrow.label]
    for name, (x, y) in layout.boxes.items():
        body += _drawn(boxes[name], x + left, y + top, initial=name == workflow.initial)
    first = layout.boxes[workflow.initial]
    body += _start(first[0] + left, first[1] + top - boxes[workflow.initial].height / 2)
    body += _cancelled((width - caption_width) / 2, height - 50, pill_width)
    return _document(workflow.name, width, height, body)


def _box(workflow: Workflow, step: Step, ways: Sequence[Arrow]) -> _Box:
    fields = [(name, workflow.fields[name].short) for name in step.collects]
    lines = notes(step)
    loop = next((arrow for arrow in ways if arrow.source == arrow.target == step.name), None)
    texts = [_width(f"{name}: {kind}", 12) for name, kind in fields] + [_width(line, 12) for line in lines]
    width = max(_NARROWEST, _width(step.name, 14, bold=True), *texts, 0) + 2 * _PAD
    height = 2 * _PAD + _NAME_LINE - 6 + _LINE * (len(fields) + len(lines)) + (4 if texts else 0)
    room = 0.0 if loop is None else _LOOP + 10 + _width(loop.label, 12)
    return _Box(step, fields, lines, width, height, loop, room)


def _width(text: str, size: float, *, bold: bool = False) -> float:
    """A cautious guess: wide fonts such as DejaVu Sans need about this much, most others less."""
    units = sum(0.36 if c in "iljtfr.,:;|!'()[] " else 0.95 if c in "mwMW@" or ord(c) > 0x2E80 else 0.64 for c in text)
    return units * size * (1.1 if bold else 1.0)


def _label_width(label: str) -> float:
    return _width(label, 12) + 12 if label else 0.0


def _drawn(box: _Box, x: float, y: float, *, initial: bool) -> list[str]:
    left, top = x - box.width / 2, y - box.height / 2
    kind = "step final" if box.step.final else "step initial" if initial else "step"
    parts = [_rect(kind, left, top, box.width, box.height, 10)]
    if box.step.final:
        parts.append(_rect("inner", left + 4, top + 4, box.width - 8, box.height - 8, 7))
    line = top + _PAD + 12
    parts.append(_text("name", x, line, escape(box.step.name), "middle"))
    line += 4
    for name, kind in box.fields:
        line += _LINE
        parts.append(_text("field", left + _PAD, line, f'{escape(name)}<tspan class="type">: {escape(kind)}</tspan>'))
    for note in box.notes:
        line += _LINE
        parts.append(_text("note", left + _PAD, line, escape(note)))
    if box.loop is not None:
        right = left + box.width
        out = right + _LOOP * 1.3
        curve = f"C {out:.1f} {y - 20:.1f} {out:.1f} {y + 20:.1f} {right:.1f} {y + 8:.1f}"
        parts.append(_path(box.loop, f"M {right:.1f} {y - 8:.1f} {curve}"))
        if box.loop.label:
            parts.append(_text("label", right + _LOOP + 6, y + 4, escape(box.loop.label)))
    return parts


def _line(arrow: Arrow, points: Sequence[tuple[float, float]]) -> str:
    """A smooth line that leaves and arrives upright, and never swings beyond its points."""
    lean = [0.0, *(_lean(*three) for three in zip(points, points[1:], points[2:], strict=False)), 0.0]
    drawn = [f"M {points[0][0]:.1f} {points[0][1]:.1f}"]
    for number, ((x0, y0), (x1, y1)) in enumerate(itertools.pairwise(points)):
        third = (y1 - y0) / 3
        bend = f"{x0 + lean[number] * third:.1f} {y0 + third:.1f} {x1 - lean[number + 1] * third:.1f} {y1 - third:.1f}"
        drawn.append(f"C {bend} {x1:.1f} {y1:.1f}")
    return _path(arrow, " ".join(drawn))


def _lean(before: tuple[float, float], at: tuple[float, float], after: tuple[float, float]) -> float:
    """How far a line leans where it passes a point: the harmonic mean of both sides, 0 where it turns."""
    first, second = ((b[0] - a[0]) / (b[1] - a[1]) if b[1] != a[1] else 0.0 for a, b in ((before, at), (at, after)))
    return 2 * first * second / (first + second) if first * second > 0 else 0.0


def _path(arrow: Arrow, curve: str) -> str:
    kind, head = ("arrow timeout", "late") if arrow.timeout else ("arrow", "head")
    return f'<path class="{kind}" d="{curve}" marker-end="url(#{head})"/>'


def _label(text: str, x: float, y: float) -> str:
    width = _label_width(text)
    ground = f'<rect x="{x - width / 2:.1f}" y="{y - 10:.1f}" width="{width:.1f}" height="20" rx="4" fill="#ffffff"/>'
    return ground + _text("label", x, y + 4, escape(text), "middle")


def _start(x: float, y: float) -> list[str]:
    curve = f"M {x:.1f} {y - 26:.1f} L {x:.1f} {y:.1f}"
    dot = f'<circle cx="{x:.1f}" cy="{y - 30:.1f}" r="6" fill="#2563eb"/>'
    return [f'<path class="arrow" d="{curve}" marker-end="url(#head)"/>', dot]


def _cancelled(left: float, y: float, width: float) -> list[str]:
    return [
        _rect("cancelled", left, y - 15, width, 30, 15),
        _text("name", left + width / 2, y + 5, "cancelled", "middle"),
        _text("field", left + width + 12, y + 4, escape(CANCELLED_WORDS)),
    ]


def _rect(kind: str, x: float, y: float, width: float, height: float, radius: float) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"/>'


def _text(kind: str, x: float, y: float, inside: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{inside}</text>'


def _document(name: str, width: float, height: float, body: Sequence[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    heads = "".join(
        f'<marker id="{mark}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M 0 0 L 10 5 L 0 10 z" fill="{colour}"/></marker>'
        for mark, colour in (("head", "#475569"), ("late", "#b45309"))
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            f"<title>Workflow {escape(name)}</title>",
            f"<style>{_STYLE}</style>",
            f"<defs>{heads}</defs>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            _text("title", width / 2, _MARGIN + 10, escape(name), "middle"),
            *body,
            "</svg>",
            "",
        ]
    )
