"""What every metric is given, and the facts that hold for answers of any kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answers:
    """One model's answers.

    Args:
        texts: the answers, without the end token.
        token_counts: how many tokens each answer took, the end token not counted.
        ended: whether the model stopped by itself; False where it was cut off at the longest length allowed.
        training_answers: what the model was trained to say, to tell learning from copying.
        references: what each answer should have been; None: nobody says.
        keywords: the words that each answer should hold, where the rows say so; else its tuple is empty.
    """

    texts: tuple[str, ...]
    token_counts: tuple[int, ...]
    ended: tuple[bool, ...]
    training_answers: tuple[str, ...] = ()
    references: tuple[str, ...] | None = None
    keywords: tuple[tuple[str, ...], ...] | None = None

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.token_counts) == len(self.ended):
            raise ValueError(
                f"{len(self.texts)} texts, {len(self.token_counts)} token counts and {len(self.ended)} end marks "
                "do not describe the same answers"
            )
        for what, given in (("references", self.references), ("lists of keywords", self.keywords)):
            if given is not None and len(given) != len(self.texts):
                raise ValueError(f"{len(self.texts)} answers and {len(given)} {what} do not go together")

    def beside_references(self) -> tuple[tuple[str, str], ...]:
        """Each answer with its reference.

        Raises:
            ValueError: there are no references.
        """
        if self.references is None:
            raise ValueError("these answers have no references to be compared with")
        return tuple(zip(self.texts, self.references, strict=True))


def answer_facts(token_counts: tuple[int, ...], ended: tuple[bool, ...]) -> dict[str, float]:
    """How long the answers are, and how often the model ended them by itself.

    Returns:
        `mean_tokens`, and `end_token_rate` as a share from 0 to 1; nothing when there are no answers.
    """
    if not token_counts:
        return {}
    return {
        "mean_tokens": sum(token_counts) / len(token_counts),
        "end_token_rate": sum(ended) / len(ended),
    }
