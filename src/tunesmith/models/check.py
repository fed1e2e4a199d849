"""Whether the libraries here can load what a model's folder holds: its family, the code it brings, its vocabulary.

All of it is asked before weights are loaded.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import transformers
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from tunesmith.errors import InputError
from tunesmith.models.source import read_model_json

log = logging.getLogger("tunesmith")

# Families whose makers published them once more, in a form that needs no code of theirs.
_NATIVE_TWINS = {
    "chatglm": "take the native form of the same model, such as zai-org/glm-4-9b-chat-hf for glm-4-9b-chat",
}
_FORGOTTEN_SPECIALS = 64  # tokens past the embedding that are no more than a slip of the tokenizer's makers


class Trust(NamedTuple):
    """Which code of the model's folder is to run."""

    model: bool
    tokenizer: bool


def code_to_run(folder: Path, source: str, *, allowed: bool) -> Trust:
    """What of the code that a model brings is needed; where transformers has the family itself, none is run.

    Args:
        source: the model as the recipe names it.
        allowed: the recipe's `model.trust_remote_code`.

    Raises:
        InputError: transformers does not know the family, and there is no code for it or it is not allowed to run.
    """
    config = read_model_json(folder / "config.json")
    family = config.get("model_type")
    native = family in CONFIG_MAPPING
    brings_model = "AutoConfig" in (config.get("auto_map") or {})
    if not native and not (brings_model and allowed):
        raise _unknown_family(source, family, brings_model)
    model = brings_model and not native
    tokenizer = _tokenizer_needs_code(folder)
    if tokenizer and not allowed and not (folder / "tokenizer.json").is_file():
        raise _code_is_not_allowed(source, "the tokenizer of this model is code that comes with it", None)
    if allowed and (model or tokenizer):
        log.warning(
            "the Python code of %s is run, with all the rights that you have (model.trust_remote_code)",
            source,
        )
    elif allowed and brings_model:
        log.info("%s: transformers has the family %s itself; the model's own code is not run", source, family)
    return Trust(model, allowed and tokenizer)


def _unknown_family(source: str, family: Any, brings_code: bool) -> InputError:
    version = transformers.__version__
    if family is None:
        return InputError(
            "config.json names no model_type, so it cannot be told which family of models this is",
            where=source,
        )
    unknown = f"transformers {version}, which is installed, does not know the model type {family!r}"
    twin = _NATIVE_TWINS.get(str(family))
    if brings_code:
        return _code_is_not_allowed(source, f"{unknown}, and the model brings Python code for it", twin)
    return InputError(
        unknown,
        where=source,
        remedy=twin or "upgrade it (`pip install --upgrade transformers`), or choose another model",
    )


def _code_is_not_allowed(source: str, why: str, instead: str | None) -> InputError:
    first = f"{instead}; or, if" if instead else "if"
    return InputError(
        why,
        where=source,
        remedy=f"{first} you trust its makers, set model.trust_remote_code: true: that code then runs with all the "
        "rights that you have, on your files too",
    )


def _tokenizer_needs_code(folder: Path) -> bool:
    """Whether the tokenizer's class comes with the folder, and transformers has none of that name."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return False
    config = read_model_json(path)
    listed = config.get("auto_map") or {}
    brings = bool(listed) if isinstance(listed, list) else "AutoTokenizer" in listed
    name = config.get("tokenizer_class")
    return brings and (not isinstance(name, str) or tokenizer_class_from_name(name) is None)


def check_vocabulary(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """See that every token has a row in the embedding. An embedding that is larger is padding, and common.

    Special tokens that neither the chat template nor the tokenizer's roles use may lie past it: some families were
    published so, and text never becomes one of them.

    Raises:
        InputError: others lie past it too.
    """
    rows = _embedding_rows(folder)
    by_number = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    beyond = {token: number for token, number in by_number if rows is not None and number >= rows}
    if not beyond:
        return
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    template = json.dumps(tokenizer.chat_template, ensure_ascii=False)
    roles = {str(token) for token in tokenizer.special_tokens_map.values()}
    used = [token for token in beyond if token not in special or token in template or token in roles]
    if not used and len(beyond) <= _FORGOTTEN_SPECIALS:
        log.warning(
            "%s: the model has no embedding for %s, which nothing here uses", folder, _some(list(beyond))
        )
        return
    raise InputError(
        f"the tokenizer has {max(beyond.values()) + 1:,} tokens and the model embeds {rows:,}: {_some(used or list(beyond))} "
        "would have no embedding",
        where=str(folder),
        remedy="put the tokenizer that belongs to the weights beside them; tokens of your own go into model.new_tokens",
    )


def _embedding_rows(folder: Path) -> int | None:
    """Rows of the embedding by the configuration; None where it does not say."""
    plain = read_model_json(folder / "config.json")
    text = plain.get("text_config")
    rows = plain.get("vocab_size") or (text.get("vocab_size") if isinstance(text, dict) else None)
    if rows is None and plain.get("model_type") in CONFIG_MAPPING:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        rows = getattr(config.get_text_config(), "vocab_size", None)
    return rows if isinstance(rows, int) else None


def _some(tokens: list[str]) -> str:
    shown = ", ".join(repr(token) for token in tokens[:3])
    return shown + (f" and {len(tokens) - 3:,} more" if len(tokens) > 3 else "")
