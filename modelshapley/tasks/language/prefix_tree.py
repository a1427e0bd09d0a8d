"""Token sequences with common beginnings, each beginning computed once: several endings of one prompt, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from modelshapley.models.loading import LoadedModel
from modelshapley.tasks.language.head import logits_at


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


@dataclass(frozen=True)
class Scored:
    """What a model makes of sequels, each entry (sequels,).

    log_likelihood: of the tokens that count, summed, nats. count: how many they are. right: how many of them are
    the likeliest token at their place; None where it was not asked for.
    """

    log_likelihood: Tensor
    count: Tensor
    right: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Mean log-likelihood of a token, nats."""
        return self.log_likelihood / self.count


def log_likelihoods(loaded: LoadedModel, rows: Sequence[Sequence[Sequel]]) -> Tensor:
    """Mean log-likelihood of the tokens of each sequel from its start on, nats a token; (sequels of all rows,)."""
    return scored(loaded, rows).mean


def scored(loaded: LoadedModel, rows: Sequence[Sequence[Sequel]], guess: bool = False) -> Scored:
    """What the model makes of each sequel from its start on, all rows' in order. guess: whether to count `right`.

    Sequels of a row stand in one sequence, every token seeing only those it follows and placed at its depth, so
    that the values are those of each sequel alone, for any causal model with positions by index. Right-padded;
    one forward pass, a row of it for each of `rows`.
    """
    trees = [_Tree() for _ in rows]
    paths = [[tree.path(s.tokens[:-1]) for s in row] for tree, row in zip(trees, rows, strict=True)]
    size = max(len(tree.tokens) for tree in trees)
    ids, places = torch.zeros((2, len(rows), size), dtype=torch.long)
    for row, tree in enumerate(trees):
        ids[row, : len(tree.tokens)] = torch.tensor(tree.tokens)
        places[row, : len(tree.tokens)] = torch.tensor(tree.depths)
    # For each row, an entry for each token that counts: the node that predicts it, the token, its sequel.
    entries: list[list[tuple[int, int, int]]] = [[] for _ in rows]
    sequels = 0
    for row, (sequences, nodes) in enumerate(zip(rows, paths, strict=True)):
        for sequel, path in zip(sequences, nodes, strict=True):
            entries[row] += [(path[i - 1], sequel.tokens[i], sequels) for i in range(sequel.start, len(sequel.tokens))]
            sequels += 1
    predicting = [sorted({node for node, _, _ in entry}) for entry in entries]
    device = loaded.device
    logits = logits_at(
        loaded.model,
        predicting,
        input_ids=ids.to(device),
        attention_mask=_mask(loaded, trees, size).to(device),
        position_ids=places.to(device),
        use_cache=False,
    )
    found, hits = [], []
    # Row by row: in float32, logits of all rows at once would be a second copy of the largest tensor there is.
    for here, known, entry in zip(logits, predicting, entries, strict=True):
        at = {node: place for place, node in enumerate(known)}
        place, wanted = torch.tensor([(at[node], token) for node, token, _ in entry], device=here.device).T
        found.append(here.float().log_softmax(-1)[place, wanted])
        if guess:
            hits.append((here.argmax(-1)[place] == wanted).long())
    by_token = torch.cat(found)
    of = torch.tensor([sequel for entry in entries for _, _, sequel in entry], device=by_token.device)
    return Scored(
        by_token.new_zeros(sequels).index_add(0, of, by_token),
        torch.bincount(of, minlength=sequels),
        of.new_zeros(sequels).index_add(0, of, torch.cat(hits)) if guess else None,
    )


def joint_size(row: Sequence[Sequel]) -> int:
    """How many tokens a row of sequels takes with its common beginnings once."""
    tree = _Tree()
    for sequel in row:
        tree.path(sequel.tokens[:-1])
    return len(tree.tokens)


def _mask(loaded: LoadedModel, trees: Sequence[_Tree], size: int) -> Tensor:
    """What the model takes as attention mask."""
    if all(parent == node - 1 for tree in trees for node, parent in enumerate(tree.parents)):
        # Plain sequences: the model's own causal mask, told which tokens are padding.
        lengths = torch.tensor([len(tree.tokens) for tree in trees])
        return (torch.arange(size) < lengths[:, None]).long()
    sees = torch.stack([tree.sight(size) for tree in trees])[:, None]
    dtype = next(loaded.model.parameters()).dtype
    return torch.zeros(sees.shape, dtype=dtype).masked_fill(~sees, torch.finfo(dtype).min)
