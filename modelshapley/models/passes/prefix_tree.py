"""Token sequences with common prefixes, such as several endings of one prompt, computing each prefix once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from modelshapley.interventions.gates import examples_differ
from modelshapley.models.loaded import LoadedModel
from modelshapley.models.passes.finite import require_finite
from modelshapley.models.passes.head import accepts, forget_lengths, logits_at


@dataclass(frozen=True)
class Continuation:
    """A token sequence; the tokens that count begin at `start`."""

    tokens: Sequence[int]
    start: int


@dataclass
class _Tree:
    """A prefix tree of one row.

    tokens, parents, depths: one entry for each node; a parent comes before its children, the root's parent is -1.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def path(self, tokens: Sequence[int]) -> list[int]:
        """Return the nodes of a sequence, adding those that are new."""
        node, nodes = -1, []
        for depth, token in enumerate(tokens):
            child = self._children.get((node, token))
            if child is None:
                child = self._children[node, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            nodes.append(node := child)
        return nodes

    def visibility(self, size: int) -> Tensor:
        """Return a mask (size, size), True where the node of a row attends to that of a column: itself and its
        ancestors.
        """
        sees = torch.eye(size, dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        return sees


@dataclass(frozen=True)
class ContinuationScores:
    """Scores of continuations by a model, each entry (continuations,).

    log_likelihood: sum over the tokens that count, nats. count: number of these tokens. right: how many of them are
    the likeliest token at their place; None unless requested.
    """

    log_likelihood: Tensor
    count: Tensor
    right: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Mean log-likelihood of a token, nats."""
        return self.log_likelihood / self.count


def log_likelihoods(loaded: LoadedModel, rows: Sequence[Sequence[Continuation]]) -> Tensor:
    """Return the mean log-likelihood of the tokens that count, nats a token; (continuations of all rows,)."""
    return score_continuations(loaded, rows).mean


def score_continuations(
    loaded: LoadedModel, rows: Sequence[Sequence[Continuation]], guess: bool = False
) -> ContinuationScores:
    """Score each continuation from its start on, those of all rows in order. guess: whether to count `right`.

    Where that is proven for the model (`loaded.shortcuts`), the continuations of a row are merged into one sequence, in
    which every token attends only to those it follows and has the position of its depth, and rows of unequal length
    are padded on the right to one pass. Else every continuation is a row of its own, and every row a pass of its own,
    exactly as if it were alone. Raises NotFinite.
    """
    shortcuts, sizes = loaded.shortcuts, [merged_size(row) for row in rows]
    if any(len(row) > 1 for row in rows) and not shortcuts.merging.covers(max(sizes)):
        return _unmerged(loaded, rows, guess)
    if len(set(sizes)) > 1 and not shortcuts.batching.covers(max(sizes)):
        if examples_differ():
            raise ValueError("gates of several examples need one pass, and examples of unequal length several")
        return _joined([_one_pass(loaded, [row], guess) for row in rows])
    return _one_pass(loaded, rows, guess)


def next_logits(loaded: LoadedModel, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return the logits after each prompt, (vocabulary,) each. One forward pass in which each prompt is a row, if
    prompts of unequal length in one pass are proven for the model; else one for each. Raises NotFinite.
    """
    sizes = [len(prompt) for prompt in prompts]
    batching = loaded.shortcuts.batching.covers(max(sizes))
    if len(set(sizes)) > 1 and not batching:
        if examples_differ():
            raise ValueError("gates of several examples need one pass, and prompts of unequal length several")
        return [logits for prompt in prompts for logits in next_logits(loaded, [prompt])]
    if not batching:
        forget_lengths(loaded.model)
    trees = [_Tree() for _ in prompts]
    for tree, prompt in zip(trees, prompts, strict=True):
        tree.path(prompt)
    rows = logits_at(loaded.model, [[size - 1] for size in sizes], **_inputs(loaded, trees))
    return [require_finite(loaded, row[0].float(), "A logit") for row in rows]


def _unmerged(loaded: LoadedModel, rows: Sequence[Sequence[Continuation]], guess: bool) -> ContinuationScores:
    """Score every continuation as a row of its own."""
    counts = [len(row) for row in rows]
    # Where each example has gates of its own, all need equally many rows: the last continuation is repeated.
    width = max(counts) if examples_differ() else 0
    padded = [[*row, *([row[-1]] * (width - len(row)))] for row in rows]
    scores = score_continuations(loaded, [[continuation] for row in padded for continuation in row], guess)
    if not width:
        return scores
    kept = torch.tensor([i * width + place for i, count in enumerate(counts) for place in range(count)])
    return ContinuationScores(
        scores.log_likelihood[kept], scores.count[kept], None if scores.right is None else scores.right[kept]
    )


def _joined(scores: Sequence[ContinuationScores]) -> ContinuationScores:
    right = [one.right for one in scores if one.right is not None]
    return ContinuationScores(
        torch.cat([one.log_likelihood for one in scores]),
        torch.cat([one.count for one in scores]),
        torch.cat(right) if right else None,
    )


def _one_pass(loaded: LoadedModel, rows: Sequence[Sequence[Continuation]], guess: bool) -> ContinuationScores:
    trees = [_Tree() for _ in rows]
    # Nothing is predicted from a last token. Where a pass depends on its length, it belongs to the text all the same.
    whole = not loaded.shortcuts.batching.covers(max(len(s.tokens) for row in rows for s in row))
    if whole:
        forget_lengths(loaded.model)
    ends = [[s.tokens if whole and len(row) == 1 else s.tokens[:-1] for s in row] for row in rows]
    paths = [[tree.path(tokens) for tokens in row] for tree, row in zip(trees, ends, strict=True)]
    # For each row, an entry for each token that counts: the node that predicts it, the token, its continuation.
    entries: list[list[tuple[int, int, int]]] = [[] for _ in rows]
    number_of_continuations = 0
    for row, (sequences, nodes) in enumerate(zip(rows, paths, strict=True)):
        for continuation, path in zip(sequences, nodes, strict=True):
            entries[row] += [
                (path[i - 1], continuation.tokens[i], number_of_continuations)
                for i in range(continuation.start, len(continuation.tokens))
            ]
            number_of_continuations += 1
    predicting = [sorted({node for node, _, _ in entry}) for entry in entries]
    logits = logits_at(loaded.model, predicting, **_inputs(loaded, trees))
    token_scores, hits = [], []
    # Row by row: in float32, logits of all rows at once would be a second copy of the largest tensor there is.
    for row_logits, nodes_of_row, entry in zip(logits, predicting, entries, strict=True):
        place_of = {node: place for place, node in enumerate(nodes_of_row)}
        place, targets = torch.tensor([(place_of[node], token) for node, token, _ in entry], device=row_logits.device).T
        token_scores.append(row_logits.float().log_softmax(-1)[place, targets])
        if guess:
            hits.append((row_logits.argmax(-1)[place] == targets).long())
    by_token = require_finite(loaded, torch.cat(token_scores), "A token's log-likelihood")
    owner = torch.tensor([continuation for entry in entries for _, _, continuation in entry], device=by_token.device)
    return ContinuationScores(
        by_token.new_zeros(number_of_continuations).index_add(0, owner, by_token),
        torch.bincount(owner, minlength=number_of_continuations),
        owner.new_zeros(number_of_continuations).index_add(0, owner, torch.cat(hits)) if guess else None,
    )


def _inputs(loaded: LoadedModel, trees: Sequence[_Tree]) -> dict[str, Any]:
    """Return what the model is called with: as little beside the tokens as these need.

    One sequence is called plainly. Padding needs a mask of tokens; branches need a mask of who sees whom, for each
    kind of layer as the model itself would build it, and positions by depth.
    """
    sizes = [len(tree.tokens) for tree in trees]
    ids = torch.zeros((len(trees), max(sizes)), dtype=torch.long)
    for row, tree in enumerate(trees):
        ids[row, : sizes[row]] = torch.tensor(tree.tokens)
    inputs: dict[str, Any] = {"input_ids": ids.to(loaded.device)}
    if accepts(loaded.model, "use_cache"):
        inputs["use_cache"] = False
    if any(parent != node - 1 for tree in trees for node, parent in enumerate(tree.parents)):
        positions = torch.zeros_like(ids)
        for row, tree in enumerate(trees):
            positions[row, : sizes[row]] = torch.tensor(tree.depths)
        return inputs | {"attention_mask": _masks(loaded, trees), "position_ids": positions.to(loaded.device)}
    if len(set(sizes)) > 1:
        mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
        inputs["attention_mask"] = mask.long().to(loaded.device)
    return inputs


def _masks(loaded: LoadedModel, trees: Sequence[_Tree]) -> Tensor | dict[str, Tensor]:
    """Return masks of who sees whom: one, or one for each kind of layer where the model has several."""
    size = max(len(tree.tokens) for tree in trees)
    visible = torch.stack([tree.visibility(size) for tree in trees])
    model: Any = loaded.model
    config = model.config.get_text_config()
    kinds, window = set(getattr(config, "layer_types", None) or ()), getattr(config, "sliding_window", None)
    if not window or kinds == {"full_attention"} or getattr(config, "use_sliding_window", True) is False:
        return _additive(loaded, visible)
    depths = torch.zeros(visible.shape[:2], dtype=torch.long)
    for row, tree in enumerate(trees):
        depths[row, : len(tree.depths)] = torch.tensor(tree.depths)
    near = visible & (depths[:, :, None] - depths[:, None, :] < window)
    # transformers 5.17: models whose config names the kinds of their layers take a mask for each kind.
    if kinds:
        return {"full_attention": _additive(loaded, visible), "sliding_attention": _additive(loaded, near)}
    return _additive(loaded, near)


def _additive(loaded: LoadedModel, visible: Tensor) -> Tensor:
    dtype = next(loaded.model.parameters()).dtype
    mask = torch.zeros(visible[:, None].shape, dtype=dtype).masked_fill(~visible[:, None], torch.finfo(dtype).min)
    return mask.to(loaded.device)


def merged_size(row: Sequence[Continuation]) -> int:
    """Return the number of tokens of a row with its common prefixes counted once."""
    tree = _Tree()
    for continuation in row:
        tree.path(continuation.tokens[:-1])
    return len(tree.tokens)
