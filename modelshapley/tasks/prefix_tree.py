"""Token sequences with common beginnings, each beginning computed once: several endings of one prompt, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modelshapley.models import LoadedModel


@dataclass(frozen=True)
class Sequel:
    """A token sequence and where in it the tokens that count begin."""

    tokens: Sequence[int]
    start: int


@dataclass
class _Tree:
    """tokens, parents, depths: of each node; a parent comes before its children, the root's is -1."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def path(self, tokens: Sequence[int]) -> list[int]:
        """Nodes of a sequence, added where they are new."""
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

    def sight(self, size: int) -> Tensor:
        """(size, size), True where the node of a row sees that of a column: itself and what it follows."""
        sees = torch.eye(size, dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        return sees


def log_likelihoods(loaded: LoadedModel, rows: Sequence[Sequence[Sequel]]) -> Tensor:
    """Mean log-likelihood of the tokens of each sequel from its start on, nats a token; (sequels of all rows,).

    Sequels of a row stand in one sequence, every token seeing only those it follows and placed at its depth, so
    that the values are those of each sequel alone, for any causal model with positions by index. Right-padded.
    """
    trees = [_Tree() for _ in rows]
    paths = [[tree.path(s.tokens[:-1]) for s in row] for tree, row in zip(trees, rows, strict=True)]
    size = max(len(tree.tokens) for tree in trees)
    ids, places = torch.zeros((2, len(rows), size), dtype=torch.long)
    for row, tree in enumerate(trees):
        ids[row, : len(tree.tokens)] = torch.tensor(tree.tokens)
        places[row, : len(tree.tokens)] = torch.tensor(tree.depths)
    # One entry for each token that counts: its row, the node that predicts it, the token, the sequel it is of.
    entries, sequels = [], 0
    for row, (sequences, nodes) in enumerate(zip(rows, paths, strict=True)):
        for sequel, path in zip(sequences, nodes, strict=True):
            entries += [
                (row, path[i - 1], sequel.tokens[i], sequels) for i in range(sequel.start, len(sequel.tokens))
            ]
            sequels += 1
    at = torch.tensor(entries)
    kept, columns = torch.unique(at[:, 1], return_inverse=True)
    device = loaded.device
    logits = loaded.model(
        input_ids=ids.to(device),
        attention_mask=_mask(loaded, trees, size).to(device),
        position_ids=places.to(device),
        logits_to_keep=kept.to(device),
        use_cache=False,
    ).logits
    by_token = logits[at[:, 0], columns].float().log_softmax(-1)
    found = by_token.gather(-1, at[:, 2, None].to(logits.device)).squeeze(-1)
    of = at[:, 3].to(logits.device)
    total = found.new_zeros(sequels).index_add(0, of, found)
    means: Tensor = total / torch.bincount(of, minlength=sequels)
    return means


def _mask(loaded: LoadedModel, trees: Sequence[_Tree], size: int) -> Tensor:
    """What the model takes as attention mask."""
    if all(parent == node - 1 for tree in trees for node, parent in enumerate(tree.parents)):
        # Plain sequences: the model's own causal mask, told which tokens are padding.
        lengths = torch.tensor([len(tree.tokens) for tree in trees])
        return (torch.arange(size) < lengths[:, None]).long()
    sees = torch.stack([tree.sight(size) for tree in trees])[:, None]
    dtype = next(loaded.model.parameters()).dtype
    return torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
