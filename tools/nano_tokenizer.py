"""Train the tokenizer of `builtin:nano`: byte-level BPE with one token for nearly every Chinese character.

A plain BPE trainer would spend the vocabulary on frequent pairs of characters. Here every Han character stands
alone before any merge, its merges are written by hand (first byte + second, then + third), and only the room
that is left is trained, on everything that is not Chinese. Rare characters, and all other scripts, fall back
to bytes, so any text comes back exactly.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY_SIZE = 6400
END_OF_TEXT, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, START_OF_TURN, END_OF_TURN)

ENGLISH_MERGES = 700
FREQUENT = 30  # a character seen this often goes before the common characters of the GB2312 standard
MOST_REPEATS = 200  # of one line when English merges are learned: words weigh by variety, not by template
LONGEST_INPUT = 512

# Han characters, the punctuation written among them, and digits: always a piece of their own.
_ALONE = r"\p{Han}|[\x{3000}-\x{303f}\x{ff00}-\x{ffef}\x{2014}\x{2018}-\x{201d}\x{2026}]|\p{N}"
# GPT-2's words: a word carries its leading space.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('nano knows the roles system, user and assistant, not ' + message['role']) }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Cut text into the pieces that merges never cross, and show bytes as printable characters."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_ALONE), "isolated"),
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def is_chinese(character: str) -> bool:
    """Han characters of the basic plane, and Chinese punctuation: three bytes each in UTF-8."""
    return (
        "\u3400" <= character <= "\u9fff"
        or "\u3000" <= character <= "\u303f"
        or "\uff00" <= character <= "\uffef"
        or character in "—‘’“”…"
    )


def gb2312_level_one() -> Iterator[str]:
    """The 3,755 common characters of GB2312: rows 16 to 55 of its table."""
    for row in range(16, 56):
        for column in range(1, 95):
            # Row 55 ends five cells early; its empty cells decode to nothing.
            yield from bytes([0xA0 + row, 0xA0 + column]).decode("gb2312", errors="ignore")


def characters_by_worth(counts: Counter[str]) -> list[str]:
    """All candidate characters, best first: frequent ones, the standard's common ones, then the rest."""
    by_count = sorted(counts, key=lambda character: (-counts[character], character))
    frequent = [character for character in by_count if counts[character] >= FREQUENT]
    common = sorted(gb2312_level_one(), key=lambda character: -counts[character])
    rest = [*by_count, *map(chr, range(0x4E00, 0xA000))]
    return list(dict.fromkeys([*frequent, *common, *rest]))


def character_merges(characters: Iterable[str], room: int) -> list[tuple[str, str]]:
    """Merges that make one token of each character, in order of worth, until `room` new tokens are used up."""
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    merges: dict[tuple[str, str], None] = {}
    for character in characters:
        first, second, third = letters.pre_tokenize_str(character)[0][0]
        # The first two bytes are shared by 64 neighbouring characters: usually this pair is there already.
        new = [pair for pair in ((first, second), (first + second, third)) if pair not in merges]
        if len(merges) + len(new) <= room:
            merges.update(dict.fromkeys(new))
        if len(merges) == room:
            break
    return list(merges)


def english_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """Up to `count` ordinary BPE merges, learned from what is left when Chinese characters are taken out."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + count,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Count characters, learn the English merges and put the vocabulary of 6400 together."""
    counts: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for text in texts:
        for special in SPECIAL_TOKENS:
            text = text.replace(special, "\n")
        counts.update(filter(is_chinese, text))
        others.update("".join("\n" if is_chinese(c) else c for c in text).split("\n"))
    lines = (line for line in sorted(others) for _ in range(min(others[line], MOST_REPEATS)) if line.strip())
    merges = english_merges(lines, ENGLISH_MERGES)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    room = VOCABULARY_SIZE - len(SPECIAL_TOKENS) - len(alphabet) - len(merges)
    merges = character_merges(filter(is_chinese, characters_by_worth(counts)), room) + merges
    tokens = [*SPECIAL_TOKENS, *alphabet, *(left + right for left, right in merges)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if len(tokens) != VOCABULARY_SIZE or len(vocabulary) != VOCABULARY_SIZE:
        raise ValueError(
            f"expected {VOCABULARY_SIZE} different tokens, built {len(vocabulary)} of {len(tokens)}"
        )
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return tokenizer


def train_tokenizer(texts: Iterable[str], folder: Path) -> Tokenizer:
    """Train on the texts and write a folder that `transformers.AutoTokenizer.from_pretrained` loads.

    The files are written here rather than by `save_pretrained`, which indents them to several times the size
    and ties them to one version of transformers.
    """
    tokenizer = build_tokenizer(texts)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8", newline="\n")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": CHAT_TEMPLATE,
        "eos_token": END_OF_TURN,
        "pad_token": END_OF_TEXT,
        "additional_special_tokens": [START_OF_TURN],
        "clean_up_tokenization_spaces": False,
        "model_max_length": LONGEST_INPUT,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8", newline="\n")
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the tokenizer of builtin:nano.")
    parser.add_argument("corpus", type=Path, help="JSONL file of {'text': ...}, as nano_corpus.py writes it")
    parser.add_argument("folder", type=Path, help="folder to write")
    arguments = parser.parse_args()
    with open(arguments.corpus, encoding="utf-8") as lines:
        train_tokenizer((json.loads(line)["text"] for line in lines), arguments.folder)


if __name__ == "__main__":
    main()
