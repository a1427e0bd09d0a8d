"""Which faster ways of running a model have been shown to give what plain passes of one example give. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Proof:
    """The outcome of comparing one shortcut with plain passes of this very model.

    reason: why it is not taken; None where it is. limit: it is taken only in passes of at most so many tokens, since
    what changes beyond (an attention window, a switch of rotary frequencies) was too far away to be tried.
    """

    reason: str | None = None
    limit: int | None = None

    def covers(self, tokens: int) -> bool:
        """Whether the shortcut may be taken in a pass whose longest sequence has so many tokens."""
        return self.reason is None and (self.limit is None or tokens <= self.limit)


UNPROVEN = Proof("not compared with plain passes")
TITLES = {
    "merging": "shared prompts computed once",
    "batching": "examples of unequal length in one pass",
    "caching": "keys and values kept while writing",
    "own_attention": "own attention for one new token",
    "writing_together": "several texts written in one pass",
}


@dataclass(frozen=True)
class Shortcuts:
    """What has been proven for one model; nothing, unless it was loaded by :func:`modelshapley.load_model`.

    merging: continuations of one prompt in one sequence, each token attending to those it follows. batching: examples
    of unequal length padded to one pass. caching: keys and values kept while a text is written. own_attention: see
    passes.decoding. writing_together: prompts of unequal length, padded on the left, written in one pass.
    """

    merging: Proof = UNPROVEN
    batching: Proof = UNPROVEN
    caching: Proof = UNPROVEN
    own_attention: Proof = UNPROVEN
    writing_together: Proof = UNPROVEN

    def notes(self) -> list[str]:
        """Say what is not taken, or only so far; one sentence each."""
        notes = []
        for field in fields(self):
            proof: Proof = getattr(self, field.name)
            if proof.reason is not None and proof is not UNPROVEN:
                notes.append(f"Not used for this model: {TITLES[field.name]} ({proof.reason}).")
            elif proof.limit is not None:
                notes.append(f"Used up to {proof.limit:,} tokens for this model: {TITLES[field.name]}.")
        return notes
