"""What needs no language model: counting words on the sample news, a list of known names on the entities, and so on.

A tuned model's score on these sets means something only beside these figures; samples/README.md states them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = Path(__file__).resolve().parents[1] / "src" / "tunesmith" / "samples"

_HAN = re.compile("[\u4e00-\u9fff]+")


def read(name: str) -> list[Any]:
    """The rows of a file in the samples folder."""
    text = (SAMPLES / name).read_text("utf-8")
    return json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]


def features(text: str) -> list[str]:
    """Lower-case words, and every pair of neighbouring Han characters."""
    pairs = [run[k : k + 2] for run in _HAN.findall(text) for k in range(len(run) - 1)]
    return re.findall(r"[a-z]+", text.lower()) + pairs


def majority_accuracy(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    """Always the label that training holds most often among those a row offers (the first of equals by name)."""
    counts = Counter(row["output"] for row in train)
    hits = [row["output"] == max(sorted(row["category"]), key=counts.__getitem__) for row in test]
    return sum(hits) / len(hits)


def bag_of_words_accuracy(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    """Multinomial naive Bayes with add-one smoothing, choosing among the labels that a row offers."""
    labels = sorted({row["output"] for row in train})
    vocabulary = {
        word: k for k, word in enumerate(sorted({w for row in train for w in features(row["text"])}))
    }
    counts = np.ones((len(labels), len(vocabulary)))
    for row in train:
        for word in features(row["text"]):
            counts[labels.index(row["output"]), vocabulary[word]] += 1
    log_likelihood = np.log(counts / counts.sum(axis=1, keepdims=True))
    log_prior = np.log([sum(row["output"] == label for row in train) for label in labels])
    hits = 0
    for row in test:
        known = [vocabulary[word] for word in features(row["text"]) if word in vocabulary]
        scores = log_prior + log_likelihood[:, known].sum(axis=1)
        hits += row["output"] == max(row["category"], key=lambda label: scores[labels.index(label)])
    return hits / len(test)


def gazetteer_f1(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Precision, recall and F1 over spans of marking every name that training holds, the longest first."""
    known = {entity["entity_text"]: entity["entity_label"] for row in train for entity in row["entities"]}
    names = re.compile("|".join(sorted(map(re.escape, known), key=len, reverse=True)))
    found = expected = right = 0
    for row in test:
        gold = {(e["start_idx"], e["end_idx"], e["entity_label"]) for e in row["entities"]}
        marked = {(m.start(), m.end(), known[m.group()]) for m in names.finditer(row["text"])}
        found, expected, right = found + len(marked), expected + len(gold), right + len(gold & marked)
    precision, recall = right / max(found, 1), right / expected
    return precision, recall, 2 * right / (found + expected)


def longer_accuracy(pairs: list[dict[str, Any]]) -> float:
    """Always preferring the longer answer."""
    return sum(len(pair["chosen"]) > len(pair["rejected"]) for pair in pairs) / len(pairs)


def keyword_recall_of_the_nearest(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    """Answering with the keywords of the training question that shares most words: the share of keywords found."""
    found = asked = 0
    for row in test:
        words = set(features(row["question"]))
        nearest = max(train, key=lambda known: len(words & set(features(known["question"]))))
        found += sum(keyword in nearest["answer_keywords"] for keyword in row["answer_keywords"])
        asked += len(row["answer_keywords"])
    return found / asked


def figures() -> dict[str, str]:
    """Each baseline's name and figure, as samples/README.md states them."""
    train, test = read("news/train.jsonl"), read("news/test.jsonl")
    precision, recall, f1 = gazetteer_f1(read("ner/ccfbdci.jsonl"), read("ner/test.jsonl"))
    order, order_test = read("news/topics_train.jsonl"), read("news/topics_test.jsonl")
    _, _, new_names_f1 = gazetteer_f1(read("ner/names_train.jsonl"), read("ner/names_test.jsonl"))
    return {
        "word-order majority accuracy": f"{majority_accuracy(order, order_test):.1%}",
        "word-order bag-of-words accuracy": f"{bag_of_words_accuracy(order, order_test):.1%}",
        "new-names gazetteer F1": f"{new_names_f1:.1%}",
        "majority accuracy": f"{majority_accuracy(train, test):.1%}",
        "bag-of-words accuracy": f"{bag_of_words_accuracy(train, test):.1%}",
        "gazetteer precision": f"{precision:.1%}",
        "gazetteer recall": f"{recall:.1%}",
        "gazetteer F1": f"{f1:.1%}",
        "longer-answer accuracy": f"{longer_accuracy(read('preference/test.json')):.1%}",
        "nearest-question keyword recall": (
            f"{keyword_recall_of_the_nearest(read('qa/dataset.json'), read('qa/test.json')):.1%}"
        ),
    }


if __name__ == "__main__":
    for name, figure in figures().items():
        print(f"{name}: {figure}")
