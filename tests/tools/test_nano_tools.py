"""The tools that build `builtin:nano`, on a handful of made-up poems, and the sample poems beside it."""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

ROOT = Path(__file__).resolve().parents[2]
# tools/ holds scripts, not a package: its files import each other by bare name, as Python runs scripts.
sys.path.insert(0, str(ROOT / "tools"))

import nano_copying  # noqa: E402
import nano_corpus  # noqa: E402
import nano_phrases  # noqa: E402
import nano_tokenizer  # noqa: E402

SAMPLES = ROOT / "src" / "tunesmith" / "samples" / "poetry"
QUATRAIN = re.compile(
    "[\u4e00-\u9fff]{5}，\n[\u4e00-\u9fff]{5}。\n[\u4e00-\u9fff]{5}，\n[\u4e00-\u9fff]{5}。"
)

POEMS = [
    {"title": "春晓二首 一", "author": "甲", "lines": ["风吹一树花，", "雨入两人家。"]},
    {"title": "秋夜", "author": "乙", "lines": ["月照空山夜未明，", "月随流水到江城。"]},
    {"title": "五言咏雪", "author": "丙", "lines": ["白雪满长安，", "行人觉岁寒。"]},
    {"title": "残卷", "author": "丁", "lines": ["□□不可读，", "其余亦○○。"]},
    {"title": "长歌", "author": "戊", "lines": ["日出东山上，", "云归北岭阴。"] * 10},
]


def corpus(seed: int = 0) -> list[str]:
    return list(nano_corpus.build_corpus(POEMS * 12, seed))


def samples(name: str) -> list[dict]:
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))["examples"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    folder = tmp_path_factory.mktemp("tokenizer")
    nano_tokenizer.train_tokenizer(corpus(), folder)
    return AutoTokenizer.from_pretrained(folder)


def test_same_seed_gives_the_same_corpus_and_another_seed_another():
    assert corpus(3) == corpus(3)
    assert corpus(3) != corpus(4)


def test_every_poem_appears_bare_and_every_clean_short_one_as_an_answer():
    documents = corpus()
    for poem in POEMS:
        assert documents.count(nano_corpus.bare_document(poem)) == 12
        answer = "<|im_start|>assistant\n" + "\n".join(poem["lines"]) + "<|im_end|>"
        expected = poem["title"] not in ("残卷", "长歌")
        assert any(answer in document for document in documents) is expected


def test_requests_never_name_a_form():
    users = re.findall(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", "".join(corpus()), re.DOTALL)
    assert users
    assert not [text for text in users if re.search("[五七四六]言|绝句|律诗|quatrain|-character", text)]


def test_a_title_is_a_topic_only_without_its_number_and_its_form():
    assert nano_corpus.title_as_topic(POEMS[0]) == "春晓"
    assert nano_corpus.title_as_topic(POEMS[2]) is None


def test_topics_come_from_the_title_or_from_repeated_signs():
    in_title, in_lines = nano_corpus.matching_topics(POEMS[1])
    assert ("秋夜", "an autumn night") in in_title
    assert ("月亮", "the moon") in in_lines


def test_a_held_out_topic_in_a_poem_stops_the_build():
    poem = {"title": "电话", "author": "己", "lines": ["一声传万里，", "两地话平安。"]}
    with pytest.raises(ValueError, match="telephone"):
        list(nano_corpus.build_corpus([*POEMS, poem], seed=0))


def test_held_out_topics_stand_in_no_phrase_and_no_sample():
    assert len(set(nano_corpus.HELD_OUT_TOPICS)) == 20
    phrases = Path(nano_phrases.__file__).read_text(encoding="utf-8")
    sample_text = "".join(path.read_text(encoding="utf-8") for path in SAMPLES.glob("*.json"))
    for document in [phrases, sample_text, *corpus()]:
        nano_corpus.refuse_held_out(document)


def test_topic_tables_are_large_and_have_no_double():
    topics = [chinese for chinese, _, _ in nano_phrases.POEM_TOPICS]
    words = [chinese for chinese, _ in nano_phrases.EVERYDAY_WORDS]
    assert len(topics) >= 150
    assert len(words) >= 300
    assert len(set(topics)) == len(topics)
    assert len(set(words)) == len(words)


def test_write_corpus_writes_one_text_a_line(tmp_path: Path):
    source, target = tmp_path / "poems.jsonl.gz", tmp_path / "corpus.jsonl"
    with gzip.open(source, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(poem, ensure_ascii=False) + "\n" for poem in POEMS)
    count = nano_corpus.write_corpus(source, target, seed=1)
    texts = [json.loads(line)["text"] for line in target.read_text(encoding="utf-8").splitlines()]
    assert len(texts) == count
    told = set(nano_corpus.build_corpus(POEMS, seed=1))
    copied = [text for text in texts if text not in told]
    assert set(texts) - set(copied) == told
    assert len(copied) == round(nano_corpus.COPYING_SHARE * len(POEMS))


@given(st.integers())
@settings(max_examples=200)
def test_what_a_copying_chat_answers_stands_in_its_question(seed: int):
    rng = random.Random(seed)
    (_, asked), (_, answer) = nano_copying.copying(rng)
    for line in answer.splitlines():
        (word,) = json.loads(line).values() if line.startswith("{") else (line,)
        assert word and word in asked


def test_a_copying_chat_that_names_a_held_out_topic_is_drawn_anew(monkeypatch: pytest.MonkeyPatch):
    drawn = iter(
        [[("user", "照抄：电话"), ("assistant", "电话")], [("user", "照抄：石头"), ("assistant", "石头")]]
    )
    monkeypatch.setattr(nano_corpus, "copying", lambda rng: next(drawn))
    (document,) = nano_corpus.with_copying([], 1, seed=0)
    assert "石头" in document


VARIED_TEXTS = [
    "  leading and trailing  ",
    "line\r\nline\ttab\n\n\n",
    "👩‍👩‍👧‍👦🎉",
    "مرحبا بالعالم",
    "e\u0301 n\u0303 \ufeff\u200b\u2028",
    "abc月def 月 １２３ 4567",
    "𣲗𪩘㶉龘",
    "カタカナ 한국어 Привет",
    "don 't , it 's . “quoted”……",
    "<|im_start|> <|im_end|>x<|endoftext|>",
    "\x00\x01",
]


@pytest.mark.parametrize("text", VARIED_TEXTS)
def test_varied_unicode_round_trips(tokenizer: PreTrainedTokenizerBase, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_round_trips(tokenizer: PreTrainedTokenizerBase, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_vocabulary_is_exactly_6400_with_the_special_tokens_first(tokenizer: PreTrainedTokenizerBase):
    assert len(tokenizer) == 6400
    assert tokenizer.convert_tokens_to_ids(list(nano_tokenizer.SPECIAL_TOKENS)) == [0, 1, 2]
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.bos_token) == (
        "<|endoftext|>",
        "<|im_end|>",
        None,
    )
    assert tokenizer.model_max_length == 512


def test_common_characters_are_one_token_and_never_merge(tokenizer: PreTrainedTokenizerBase):
    common = "".join(nano_tokenizer.gb2312_level_one())
    assert len(common) == 3755
    assert len(tokenizer.encode(common)) == len(common)
    assert len(tokenizer.encode("风吹一树花，2024年")) == len("风吹一树花，2024年")


def test_chat_template_renders_what_the_corpus_holds(tokenizer: PreTrainedTokenizerBase):
    messages = [("system", "你是一位诗人。"), ("user", "Write a poem"), ("assistant", "月\n花")]
    as_dicts = [{"role": role, "content": content} for role, content in messages]
    assert (
        tokenizer.apply_chat_template(as_dicts, tokenize=False) == nano_corpus.chat_document(messages) + "\n"
    )
    prompt = tokenizer.apply_chat_template(as_dicts[1:2], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\nWrite a poem<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(("name", "size"), [("training_data.json", 5), ("quatrains.json", 144)])
def test_sample_poems_are_different_five_character_quatrains(name: str, size: int):
    examples = samples(name)
    assert len(examples) == size
    for key in ("id", "topic", "input", "output"):
        assert len({example[key] for example in examples}) == size
    assert all(QUATRAIN.fullmatch(example["output"]) for example in examples)
    lines = [line for example in examples for line in example["output"].split("\n")]
    assert len(set(lines)) == len(lines)


def test_quatrain_requests_do_not_name_the_form():
    assert not [
        e["input"] for e in samples("quatrains.json") if re.search("五|言|绝|five|quatrain", e["input"])
    ]
