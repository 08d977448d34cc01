"""Which texts go through the model together.

Texts of a batch are padded to the longest one. Going together saves what one run costs beside its tokens; padding
costs what the padded tokens cost. A text joins a batch when it saves more than it costs.
"""

from collections.abc import Iterator, Sequence

RUN_COST = 8
"""What a run costs beside its tokens, in tokens (measured with `python -m deployments.embedder.bench`)."""


class BatchShape:
    """The size of a batch that is being put together."""

    def __init__(self, max_texts: int, max_tokens: int) -> None:
        self._max_texts = max_texts
        self._max_tokens = max_tokens
        self.texts = 0
        self.longest = 0

    def add(self, length: int) -> bool:
        """Take a text of `length` tokens in; False, and nothing changes, when it would be better off elsewhere."""
        longest = max(self.longest, length)
        padded = (self.texts + 1) * longest
        if self.texts:
            padding = padded - self.texts * self.longest - length
            if self.texts >= self._max_texts or padded > self._max_tokens or padding > RUN_COST:
                return False
        self.texts += 1
        self.longest = longest
        return True


def plan(lengths: Sequence[int], *, max_texts: int, max_tokens: int) -> Iterator[list[int]]:
    """Batches of indexes into `lengths`, shortest texts first; every index is in exactly one batch.

    max_tokens bounds a batch with its padding; a text longer than that goes alone.
    """
    batch: list[int] = []
    shape = BatchShape(max_texts, max_tokens)
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not shape.add(lengths[index]):
            yield batch
            batch, shape = [], BatchShape(max_texts, max_tokens)
            shape.add(lengths[index])
        batch.append(index)
    if batch:
        yield batch
