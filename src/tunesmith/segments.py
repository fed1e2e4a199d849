"""Flat rows and the segments in them: types and integer arithmetic only.

A row has batch dimension 1 and no padding. It is cut into segments; a segment may have a parent, whose tokens (and
whose ancestors' tokens) it sees as its prefix, so a row is a small forest:

    root A ──┬── child B        tokens:    A A A B B C C C D D
             └── child C        positions: 0 1 2 3 4 3 4 5 0 1
    root D

Attention is causal over ancestors and the segment itself, positions go on from the ancestors: the same mathematics as
running every root-to-leaf path alone. Packed fine-tuning is many roots; a preference pair is one root with two
children.

Which hidden state predicts which token is a list of targets, not a mask, because a parent's last position predicts
the first token of each of its children.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import repeat
from typing import Any, NamedTuple


class Picture(NamedTuple):
    """A picture among tokens: `length` placeholders, from number `start` on, stand for what the file shows."""

    start: int
    length: int
    path: str

    def moved(self, by: int) -> Picture:
        """The same where `by` more tokens stand in front."""
        return self._replace(start=self.start + by)


class Piece(NamedTuple):
    """One segment of a sample, before it is laid into a row.

    `weights[i]` is the loss weight of predicting `tokens[i]`; 0 is context only. `parent` is the index of the parent
    piece in the same sample, or None for a root; parents come before their children. `pictures` are in order, and each
    lies whole in its piece.
    """

    tokens: tuple[int, ...]
    weights: tuple[float, ...]
    parent: int | None = None
    pictures: tuple[Picture, ...] = ()


Tree = tuple[Piece, ...]  # a sample as segments; several roots are allowed


class Segment(NamedTuple):
    """One segment of a row: `length` tokens at `start`, behind `offset` tokens of ancestors."""

    start: int
    length: int
    offset: int
    parent: int | None


class Target(NamedTuple):
    """The hidden state at `position` of the row predicts `token`, with `weight`, for the leaf (or path) `leaf`."""

    position: int
    token: int
    weight: float
    leaf: int


@dataclass(frozen=True)
class SegmentPlan:
    """How a row is cut. Immutable; built once a row and carried through the model to the attention.

    Each backend derives its own form (index tensors, masks) once and keeps it here with `form`.
    """

    segments: tuple[Segment, ...]
    _forms: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, lengths: Sequence[int], parents: Sequence[int | None] | None = None) -> SegmentPlan:
        """Lay segments of these lengths one behind the other; `parents[i]` is an earlier index or None."""
        segments: list[Segment] = []
        start = 0
        for index, length in enumerate(lengths):
            parent = parents[index] if parents else None
            if parent is not None and not 0 <= parent < index:
                raise ValueError(f"segment {index} names parent {parent}, which does not come before it")
            if length < 1:
                raise ValueError(f"segment {index} is empty")
            offset = 0 if parent is None else segments[parent].offset + segments[parent].length
            segments.append(Segment(start, length, offset, parent))
            start += length
        return cls(tuple(segments))

    @cached_property
    def length(self) -> int:
        return sum(segment.length for segment in self.segments)

    def lineage(self, index: int) -> tuple[int, ...]:
        """The segments from the root down to `index`, itself included."""
        path = [index]
        while (parent := self.segments[path[-1]].parent) is not None:
            path.append(parent)
        return tuple(reversed(path))

    def leaves(self) -> tuple[int, ...]:
        """The segments that are nobody's parent."""
        parents = {segment.parent for segment in self.segments}
        return tuple(index for index in range(len(self.segments)) if index not in parents)

    def path_positions(self, index: int) -> list[int]:
        """Row positions of the whole path from the root to the end of segment `index`."""
        return [
            position
            for step in self.lineage(index)
            for position in range(
                self.segments[step].start, self.segments[step].start + self.segments[step].length
            )
        ]

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """The position id of each token: where it stands on its own path."""
        return tuple(s.offset + step for s in self.segments for step in range(s.length))

    def form(self, key: Hashable, build: Callable[[SegmentPlan], Any]) -> Any:
        """A backend's own form of this plan, built once."""
        if key not in self._forms:
            self._forms[key] = build(self)
        return self._forms[key]


@dataclass(frozen=True)
class Row:
    """One flat row, ready for the model: tokens, how they are cut, and what is to be predicted.

    `owners[i]` is the number, within its update, of the sample that segment i belongs to. `pictures` are in order.
    """

    tokens: tuple[int, ...]
    plan: SegmentPlan
    targets: tuple[Target, ...]
    owners: tuple[int, ...]
    pictures: tuple[Picture, ...] = ()


def tree_length(tree: Tree) -> int:
    """Tokens that a sample takes in a row: shared prefixes count once."""
    return sum(len(piece.tokens) for piece in tree)


def tree_targets(tree: Tree, start: int = 0, first: int = 0) -> list[Target]:
    """What a sample has to predict, where its first token stands at `start` and its first segment is number `first`.

    The first token of a root has no predictor. The first token of a child is predicted by its parent's last one. A
    token shared by several leaves counts once for each of them.
    """
    children: dict[int, list[int]] = {}
    starts: list[int] = []
    for index, piece in enumerate(tree):
        starts.append(starts[-1] + len(tree[index - 1].tokens) if starts else start)
        if piece.parent is not None:
            children.setdefault(piece.parent, []).append(index)

    def leaves_under(index: int) -> list[int]:
        below = children.get(index)
        return [leaf for child in below for leaf in leaves_under(child)] if below else [first + index]

    targets: list[Target] = []
    for index, (tokens, weights, parent, _) in enumerate(tree):
        before = starts[index] - 1  # a token is predicted where the one before it stands
        leaves = leaves_under(index)
        if weights[0] and parent is not None:
            predictor = starts[parent] + len(tree[parent].tokens) - 1
            targets += [Target(predictor, tokens[0], weights[0], leaf) for leaf in leaves]
        learned = [at for at, weight in enumerate(weights) if weight and at]
        for leaf in leaves:
            columns = (
                [before + at for at in learned],
                [tokens[at] for at in learned],
                [weights[at] for at in learned],
            )
            targets += map(_target, zip(*columns, repeat(leaf), strict=False))
    return targets


# A row has a target for each token with loss; this makes one in a third of the time that calling the class takes.
_target: Callable[[tuple[int, int, float, int]], Target] = partial(tuple.__new__, Target)


def tree_weight(tree: Tree) -> float:
    """The loss weight of a sample: its share of the update's divisor."""
    return float(sum(target.weight for target in tree_targets(tree)))


class Block(NamedTuple):
    """Pieces that must lie in one row, and for each the sample that it belongs to."""

    tree: Tree
    owners: tuple[int, ...]

    @classmethod
    def of(cls, tree: Tree, owner: int = 0) -> Block:
        """A whole sample."""
        return cls(tree, (owner,) * len(tree))


def lay_row(blocks: Sequence[Block]) -> Row:
    """Lay blocks one behind the other into a row."""
    tokens: list[int] = []
    lengths: list[int] = []
    parents: list[int | None] = []
    owners: list[int] = []
    targets: list[Target] = []
    pictures: list[Picture] = []
    for block in blocks:
        start, first = len(tokens), len(lengths)
        for piece in block.tree:
            pictures += [picture.moved(len(tokens)) for picture in piece.pictures]
            tokens.extend(piece.tokens)
            lengths.append(len(piece.tokens))
            parents.append(None if piece.parent is None else first + piece.parent)
        owners += block.owners
        targets += tree_targets(block.tree, start, first)
    return Row(
        tuple(tokens), SegmentPlan.of(lengths, parents), tuple(targets), tuple(owners), tuple(pictures)
    )


def plan_rows(trees: Sequence[Tree], budget: int, *, share: bool = False) -> list[Row]:
    """Lay one update's samples into as few rows as fit the token budget (first fit, longest first).

    No sample leaves its update and none is cut: a sample longer than the budget gets a row of its own. The result is
    a pure function of the arguments.

    Args:
        share: what several samples begin with is laid once, as their common root.
    """
    blocks = [Block.of(tree, owner) for owner, tree in enumerate(trees)]
    if share:
        blocks = share_prefixes(blocks, budget)
    lengths = [tree_length(block.tree) for block in blocks]
    bins: list[tuple[int, list[int]]] = []
    for index in sorted(range(len(blocks)), key=lambda index: (-lengths[index], index)):
        for at, (used, members) in enumerate(bins):
            if used + lengths[index] <= budget:
                bins[at] = (used + lengths[index], [*members, index])
                break
        else:
            bins.append((lengths[index], [index]))
    return [lay_row([blocks[index] for index in sorted(members)]) for _, members in bins]


# A shorter common beginning saves less than a further segment costs.
SHORTEST_SHARED_PREFIX = 32


def share_prefixes(blocks: Sequence[Block], budget: int) -> list[Block]:
    """Join blocks whose roots begin with the same tokens (and pictures) without loss: these become one root above them.

    The mathematics stays the same: a token's hidden state depends on what stands before it on its path, and each path
    is what it was. Roots of one sample (a chat whose template rewrites history) share as those of several do.

    Args:
        budget: no joined block grows longer than this.
    """
    parts = [root for block in blocks for root in _split_at_roots(block)]
    roots = sorted(zip(_told_apart(parts), parts, strict=True), key=lambda root: root[0])
    joined: list[Block] = []
    group: list[Block] = []
    leader: tuple[int, ...] = ()  # the told-apart tokens of the group's first root
    shared = size = 0  # tokens that the group's roots begin with; tokens of the group laid with them once
    for told, block in roots:
        common = _common_prefix(leader, told, group[0].tree[0], block.tree[0]) if group else 0
        if len(group) > 1:
            common = min(common, shared)
        length = tree_length(block.tree)
        # Taking it in may shorten what the others share; that must pay, and the whole must fit in a row.
        larger = size + (shared - common) * (len(group) - 1) + length - common
        if len(group) == 1:
            larger = size + length - common
        pays = common * len(group) > shared * (len(group) - 1)
        if group and common >= SHORTEST_SHARED_PREFIX and pays and larger <= budget:
            group, shared, size = [*group, block], common, larger
        else:
            joined += _joined(group, shared)
            group, shared, size, leader = [block], 0, length, told
    return sorted([*joined, *_joined(group, shared)], key=lambda block: block.owners)


def _split_at_roots(block: Block) -> list[Block]:
    """Each root with what descends from it, by itself."""
    parts: list[tuple[list[Piece], list[int]]] = []
    moved: list[tuple[int, int]] = []  # for each piece: its part, and its index there
    for piece, owner in zip(block.tree, block.owners, strict=True):
        if piece.parent is None:
            parts.append(([], []))
            part, parent = len(parts) - 1, None
        else:
            part, parent = moved[piece.parent]
        moved.append((part, len(parts[part][0])))
        parts[part][0].append(piece._replace(parent=parent))
        parts[part][1].append(owner)
    return [Block(tuple(pieces), tuple(owners)) for pieces, owners in parts]


def _told_apart(blocks: Sequence[Block]) -> list[tuple[int, ...]]:
    """Each root's tokens, where the same placeholder of two pictures is two numbers: below 0, one a picture."""
    numbers: dict[tuple[str, int], int] = {}
    roots = []
    for block in blocks:
        tokens = block.tree[0].tokens
        for picture in block.tree[0].pictures:
            number = numbers.setdefault((picture.path, picture.length), -1 - len(numbers))
            end = picture.start + picture.length
            tokens = (*tokens[: picture.start], *(number,) * picture.length, *tokens[end:])
        roots.append(tokens)
    return roots


def _common_prefix(one: tuple[int, ...], other: tuple[int, ...], first: Piece, second: Piece) -> int:
    """How many tokens without loss two roots both begin with; each keeps one token of its own at least.

    Args:
        one, other: the tokens of `first` and `second`, with their pictures told apart.
    """
    most = min(len(one), len(other)) - 1
    common = next(
        (at for at in range(most) if one[at] != other[at] or first.weights[at] or second.weights[at]), most
    )
    # A picture is never cut: behind the last token that both have, it may go on.
    cut = (
        p.start for root in (first, second) for p in root.pictures if p.start < common < p.start + p.length
    )
    return min(cut, default=common)


def _joined(group: Sequence[Block], shared: int) -> list[Block]:
    if len(group) < 2:
        return list(group)
    leader = group[0].tree[0]
    pictures = tuple(picture for picture in leader.pictures if picture.start < shared)
    pieces = [Piece(leader.tokens[:shared], (0.0,) * shared, None, pictures)]
    owners = [group[0].owners[0]]
    for block in group:
        first = len(pieces)
        root = block.tree[0]
        own = tuple(picture.moved(-shared) for picture in root.pictures if picture.start >= shared)
        pieces.append(Piece(root.tokens[shared:], root.weights[shared:], 0, own))
        pieces += [p._replace(parent=first + (p.parent or 0)) for p in block.tree[1:]]
        owners += block.owners
    return [Block(tuple(pieces), tuple(owners))]


def single_paths(tree: Tree) -> list[Tree]:
    """A sample as its root-to-leaf paths, each a lone root: the same targets and the same total weight."""
    parents = {piece.parent for piece in tree}
    paths: list[Tree] = []
    for leaf in range(len(tree)):
        if leaf in parents:
            continue
        lineage: list[Piece] = []
        at: int | None = leaf
        while at is not None:
            lineage.append(tree[at])
            at = tree[at].parent
        lineage.reverse()
        tokens: list[int] = []
        weights: list[float] = []
        pictures: list[Picture] = []
        for piece in lineage:
            pictures += [picture.moved(len(tokens)) for picture in piece.pictures]
            tokens += piece.tokens
            weights += piece.weights
        paths.append((Piece(tuple(tokens), tuple(weights), None, tuple(pictures)),))
    return paths
