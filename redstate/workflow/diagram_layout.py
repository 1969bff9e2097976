"""Places boxes in layers and leads arrows between them, so that neither boxes nor labels lie on one another.

In short: arrows that close a loop are turned round, each box gets the layer of its longest way from the first, arrows
get a place of their own in each layer that they cross (and their label lies in one of these), the layers are ordered to
cross little, and places are drawn towards their neighbours as far as the order allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_GAP_X, _GAP_Y, _LANE, _LANE_GAP = 36.0, 30.0, 10.0, 14.0
_PORT_GAP, _PORT_MARGIN = 26.0, 18.0
_SWEEPS, _STRAIGHT = 60, 12.0


@dataclass(frozen=True, slots=True)
class Wire:
    """An arrow to be placed, with the size of its label (0 by 0 for none)."""

    source: str
    target: str
    label_width: float = 0.0
    label_height: float = 0.0


@dataclass(slots=True)
class Place:
    """A box, or where an arrow crosses a layer; ``x`` and ``y`` are its centre."""

    layer: int
    width: float
    height: float
    lane: bool = False
    x: float = 0.0
    y: float = 0.0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Route:
    """The way of an arrow: its points from tail to head, and the centre of its label."""

    points: list[tuple[float, float]]
    label: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies. ``boxes`` are centres by name; routes are in the order of the wires."""

    width: float
    height: float
    boxes: dict[str, tuple[float, float]]
    routes: list[Route]


def lay_out(sizes: Mapping[str, tuple[float, float]], wires: Sequence[Wire], first: str) -> Layout:
    """Place boxes and arrows.

    Args:
        sizes: width and height of each box, by name.
        wires: the arrows between different boxes; each box is reached from ``first``.
        first: the box on top.
    """
    turned = _loops(sizes, wires, first)
    down = [(wire.target, wire.source) if number in turned else (wire.source, wire.target)
            for number, wire in enumerate(wires)]  # fmt: skip
    layer = _layers(sizes, down)
    boxes = {name: Place(layer[name], *sizes[name]) for name in sizes}
    chains = [_chain(boxes[top], boxes[bottom], wire) for (top, bottom), wire in zip(down, wires, strict=True)]
    layers = _ordered(boxes, chains)
    _spread(layers)
    height = _stack(layers)
    left = min(place.x - place.width / 2 for row in layers for place in row)
    width = max(place.x + place.width / 2 for row in layers for place in row) - left
    for place in itertools.chain(*layers):
        place.x -= left
    ports = _ports(chains)
    routes = [_route(chain, ports[number], turned=number in turned) for number, chain in enumerate(chains)]
    return Layout(width, height, {name: (box.x, box.y) for name, box in boxes.items()}, routes)


def _loops(sizes: Mapping[str, object], wires: Sequence[Wire], first: str) -> set[int]:
    """The numbers of the arrows that close a loop, as a walk in depth finds them."""
    turned: set[int] = set()
    open_boxes: set[str] = set()
    done: set[str] = set()

    def walk(name: str) -> None:
        open_boxes.add(name)
        for number, wire in enumerate(wires):
            if wire.source == name:
                if wire.target in open_boxes:
                    turned.add(number)
                elif wire.target not in done:
                    walk(wire.target)
        open_boxes.discard(name)
        done.add(name)

    walk(first)
    return turned


def _layers(sizes: Mapping[str, object], down: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The longest way to each box, doubled: between two layers of boxes there is one for labels."""
    layer = dict.fromkeys(sizes, 0)
    for _ in sizes:
        for top, bottom in down:
            layer[bottom] = max(layer[bottom], layer[top] + 2)
    return layer


def _chain(top: Place, bottom: Place, wire: Wire) -> list[Place]:
    """The places of an arrow from the upper box to the lower one; the middle one is as large as its label."""
    lanes = [Place(layer, _LANE, 0.0, lane=True) for layer in range(top.layer + 1, bottom.layer)]
    label = lanes[_middle(lanes)]
    label.width, label.height = max(wire.label_width, _LANE), wire.label_height
    chain = [top, *lanes, bottom]
    for upper, lower in itertools.pairwise(chain):
        upper.below.append(lower)
        lower.above.append(upper)
    return chain


def _middle(lanes: Sequence[Place]) -> int:
    """The number of the lane that carries the label: one in a layer between boxes, which are the even ones here."""
    return len(lanes) // 4 * 2


def _ordered(boxes: Mapping[str, Place], chains: Sequence[Sequence[Place]]) -> list[list[Place]]:
    """The layers from top to bottom, each in the order of all tried in which arrows cross least."""
    layers: list[list[Place]] = [[] for _ in range(max(box.layer for box in boxes.values()) + 1)]
    for place in itertools.chain(boxes.values(), *(chain[1:-1] for chain in chains)):
        layers[place.layer].append(place)
    best = [list(row) for row in layers]
    fewest = _crossings(layers)
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for row, other in (
            zip(layers[1:], layers, strict=False) if downwards else zip(layers[-2::-1], layers[:0:-1], strict=True)
        ):
            order = {id(place): number for number, place in enumerate(other)}
            row.sort(key=lambda place: _mean([order[id(one)] for one in (place.above if downwards else place.below)]))
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(row) for row in layers], crossings
    return best


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _crossings(layers: Sequence[Sequence[Place]]) -> int:
    count = 0
    for row, lower in itertools.pairwise(layers):
        order = {id(place): number for number, place in enumerate(lower)}
        lines = [(number, order[id(one)]) for number, place in enumerate(row) for one in place.below]
        count += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(lines, 2))
    return count


def _spread(layers: Sequence[list[Place]]) -> None:
    """Draw each place towards its neighbours, layer by layer, downwards and upwards in turn."""
    for row in layers:
        _settle(row, [0.0] * len(row))
    for sweep in range(_SWEEPS):
        for row in layers if sweep % 2 == 0 else reversed(layers):
            _settle(row, [_wish(place) for place in row])


def _wish(place: Place) -> float:
    """Where its neighbours would have it; within an arrow they pull harder, so that long ones run straight."""
    around = place.above + place.below
    weights = [_STRAIGHT if place.lane and other.lane else 1.0 for other in around]
    pull = sum(other.x * weight for other, weight in zip(around, weights, strict=True))
    return pull / sum(weights) if around else place.x


def _settle(row: Sequence[Place], wished: Sequence[float]) -> None:
    """Set the places as near to where they wish to be as their order and their widths allow (least squares)."""
    offsets, total = [], 0.0
    for number, place in enumerate(row):
        if number:
            before = row[number - 1]
            gap = _LANE_GAP if before.lane or place.lane else _GAP_X
            total += (before.width + place.width) / 2 + gap
        offsets.append(total)
    # With the offsets taken away the places must only not fall: neighbours that would are merged at their mean.
    groups: list[tuple[float, int]] = []
    for wish, offset in zip(wished, offsets, strict=True):
        mean, size = wish - offset, 1
        while groups and groups[-1][0] > mean:
            earlier, count = groups.pop()
            mean, size = (earlier * count + mean * size) / (count + size), count + size
        groups.append((mean, size))
    positions = [mean for mean, size in groups for _ in range(size)]
    for place, position, offset in zip(row, positions, offsets, strict=True):
        place.x = position + offset


def _stack(layers: Sequence[Sequence[Place]]) -> float:
    """Set the heights of the layers; returns the height of all."""
    y = 0.0
    for number, row in enumerate(layers):
        tallest = max((place.height for place in row), default=0.0)
        for place in row:
            place.y = y + tallest / 2
            if place.lane and number % 2 == 0:
                # Past a box an arrow runs upright from its top to its bottom.
                place.height = tallest
        y += tallest + (_GAP_Y if number < len(layers) - 1 else 0.0)
    return y


def _ports(chains: Sequence[Sequence[Place]]) -> list[tuple[float, float]]:
    """Where each arrow meets its upper box and its lower one: side by side, in the order in which they lead away."""
    found = [[0.0, 0.0] for _ in chains]
    for end in (0, 1):
        at: dict[int, list[int]] = {}
        for number, chain in enumerate(chains):
            at.setdefault(id(chain[-end]), []).append(number)
        for numbers in at.values():
            numbers.sort(key=lambda number: chains[number][-2 if end else 1].x)
            box = chains[numbers[0]][-end]
            room = max(box.width - 2 * _PORT_MARGIN, 0.0)
            gap = min(_PORT_GAP, room / max(len(numbers) - 1, 1))
            for place, number in enumerate(numbers):
                found[number][end] = box.x + (place - (len(numbers) - 1) / 2) * gap
    return [(top, bottom) for top, bottom in found]


def _route(chain: Sequence[Place], ports: tuple[float, float], *, turned: bool) -> Route:
    top, *lanes, bottom = chain
    points = [(ports[0], top.y + top.height / 2)]
    for lane in lanes:
        points += [(lane.x, lane.y - lane.height / 2), (lane.x, lane.y + lane.height / 2)][: 2 if lane.height else 1]
    points.append((ports[1], bottom.y - bottom.height / 2))
    label = lanes[_middle(lanes)]
    return Route(points[::-1] if turned else points, (label.x, label.y))
