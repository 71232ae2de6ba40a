"""Write your own recommender: train it, compare it with two that count, and rank for one user.

    python examples/write_a_recommender.py

Nothing is inherited from this project and nothing is registered. A recommender is any class with `n_items` and
`recommend`; one that learns step by step is a torch module with `loss` as well. The contracts are in recsys/types.py,
with others that a model may add: `prepare` to count something first, `tune` to fit its ranking at the end, `generate`
to draw embeddings. Everything else comes with them: training with validation, early stopping and checkpoints,
evaluation by full ranking over the catalogue, and the rest of the program, which takes any `Recommender`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recsys.build import build
from recsys.data.splits import leave_one_out, pad
from recsys.data.synthetic import markov_chain
from recsys.evaluate import evaluate
from recsys.ranking import check_history, top_k
from recsys.train import TrainConfig, train
from recsys.types import PAD, Batch, Ranking, Recommender, Trainable


class FadingMemory(nn.Module):
    """Score each next item against the recent items, the last one most: a learnt weight for each place back."""

    def __init__(self, n_items: int, d: int = 32, window: int = 5):
        super().__init__()
        self.n_items = n_items
        self.window = window
        self.seen = nn.Embedding(n_items + 1, d, padding_idx=PAD)  # what an item says as part of a history
        self.next = nn.Linear(d, n_items + 1)  # what an item answers to as the next one
        self.fade = nn.Parameter(-torch.arange(float(window)))

    def scores(self, history: Tensor) -> Tensor:
        """Score every item at every position of history (B, L), by what was seen up to there: (B, L, n+1)."""
        seen = self.seen(history)  # (B, L, d)
        shifted = [F.pad(seen, (0, 0, back, 0))[:, : seen.shape[1]] for back in range(self.window)]
        weights = self.fade.softmax(0)
        return self.next(sum(weight * part for weight, part in zip(weights, shifted, strict=True)))

    def loss(self, batch: Batch, *, generator: torch.Generator) -> dict[str, Tensor]:
        """Average the cross-entropy of the next item over all positions of Batch (B, L) that have one."""
        scores = self.scores(batch.history)
        return {"loss": F.cross_entropy(scores.flatten(0, 1), batch.target.flatten(), ignore_index=PAD)}

    @torch.no_grad()
    def recommend(
        self, history: Tensor, k: int, *, exclude_seen: bool = True, generator: torch.Generator | None = None
    ) -> Ranking:
        """Rank the k best next items of each history (B, L); nothing is drawn, so `generator` is not used."""
        check_history(history, self.n_items)  # an error that says what is wrong, instead of a wrong answer
        return top_k(self.scores(history)[:, -1], history, k, exclude_seen=exclude_seen)


def main() -> None:
    """Train, compare, rank."""
    torch.manual_seed(0)

    # 1. Data: sequences of item numbers from 1. Here a chain in which the best possible hit rate is known; your own
    #    files come from recsys.data.datasets.load("clicks.csv").
    chain = markov_chain(n_items=60, n_users=300, length=12, p=0.7)
    split = leave_one_out(chain.sequences, n_items=60)

    # 2. Training is an iterator: your loop prints, plots and stops.
    model = FadingMemory(split.n_items)
    assert isinstance(model, Recommender) and isinstance(model, Trainable)  # the two contracts hold
    for step in train(model, split, TrainConfig(epochs=12, batch_size=64, learning_rate=0.02, metric="hit@1")):
        if step.metrics:
            print(f"epoch {step.epoch:2.0f}: loss {step.losses['loss']:.3f}, hit@1 {step.metrics['hit@1']:.3f}")

    # 3. Full ranking over the catalogue, for all on the same cases. Items may come again here, so none is excluded.
    rivals = {name: build(name, split).fit(split.train) for name in ("popularity", "markov")}
    for name, recommender in {"fading memory": model, **rivals}.items():
        report = evaluate(recommender, split.test, at=(1, 10), exclude_seen=False)
        low, high = report.intervals["hit@1"]
        print(f"{name:>14}: hit@1 {report.metrics['hit@1']:.3f} ({low:.3f} to {high:.3f}), ", end="")
        print(f"ndcg@10 {report.metrics['ndcg@10']:.3f}")
    print(f"{'best possible':>14}: hit@1 {chain.bayes_hit:.3f}")

    # 4. One user. Histories are padded on the left; `pad` does that.
    history = pad([chain.sequences[0]])
    ranking = model.recommend(history, 3, exclude_seen=False)
    print(f"after item {history[0, -1]} comes {ranking.items[0].tolist()}, truly {chain.follower[history[0, -1]]}")


if __name__ == "__main__":
    main()
