"""Token sequences with common prefixes, such as several endings of one prompt, computing each prefix once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.finite import require_finite
from modelshapley.tasks.language.head import logits_at


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

    The continuations of a row are merged into one sequence, in which every token attends only to those it follows
    and has the position of its depth, so that the values are those of each continuation alone, for any causal model
    with positions by index. Right-padded; one forward pass with one row for each of `rows`.
    """
    trees = [_Tree() for _ in rows]
    paths = [[tree.path(s.tokens[:-1]) for s in row] for tree, row in zip(trees, rows, strict=True)]
    size = max(len(tree.tokens) for tree in trees)
    ids, positions = torch.zeros((2, len(rows), size), dtype=torch.long)
    for row, tree in enumerate(trees):
        ids[row, : len(tree.tokens)] = torch.tensor(tree.tokens)
        positions[row, : len(tree.tokens)] = torch.tensor(tree.depths)
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
    device = loaded.device
    logits = logits_at(
        loaded.model,
        predicting,
        input_ids=ids.to(device),
        attention_mask=_mask(loaded, trees, size).to(device),
        position_ids=positions.to(device),
        use_cache=False,
    )
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


def merged_size(row: Sequence[Continuation]) -> int:
    """Return the number of tokens of a row with its common prefixes counted once."""
    tree = _Tree()
    for continuation in row:
        tree.path(continuation.tokens[:-1])
    return len(tree.tokens)


def _mask(loaded: LoadedModel, trees: Sequence[_Tree], size: int) -> Tensor:
    """Return the attention mask in the form that the model takes."""
    if all(parent == node - 1 for tree in trees for node, parent in enumerate(tree.parents)):
        # Plain sequences: the model adds its own causal mask, and needs only to know which tokens are padding.
        lengths = torch.tensor([len(tree.tokens) for tree in trees])
        return (torch.arange(size) < lengths[:, None]).long()
    visible = torch.stack([tree.visibility(size) for tree in trees])[:, None]
    dtype = next(loaded.model.parameters()).dtype
    return torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)
