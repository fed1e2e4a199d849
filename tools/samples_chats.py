"""Chats in every form that chats come in: OpenAI messages, sharegpt, thinking, pairs, query with history, tools."""

from __future__ import annotations

import random
from typing import Any

import samples_talk
import samples_tools

_LONE_ANSWERS = {  # for the queries that have no history
    "What does a cartographer do?": "A cartographer draws maps and decides what to leave out of them.",
    "怎样把一封信写得真诚？": "写具体的事，说自己的话，不夸大，也不催促对方回复。",
}


def _turns(line: str) -> list[str]:
    return line.split("｜")


def _lines(table: str) -> list[str]:
    return table.strip().splitlines()


def _messages(turns: list[str]) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(turns)]


def _multi_turn() -> list[dict[str, Any]]:
    rows = [{"messages": _messages(_turns(line))} for line in _lines(samples_talk.MULTI_TURN)]
    for line in _lines(samples_talk.SYSTEM_TALK):
        system, *turns = _turns(line)
        rows.append({"messages": [{"role": "system", "content": system}, *_messages(turns)]})
    return rows


def _sharegpt() -> list[dict[str, Any]]:
    return [
        {
            "conversations": [
                {"from": ("human", "gpt")[k % 2], "value": text} for k, text in enumerate(_turns(line))
            ]
        }
        for line in _lines(samples_talk.SHAREGPT)
    ]


def _thinking() -> list[dict[str, Any]]:
    rows = []
    for line in _lines(samples_talk.THINKING):
        asked, reply = _turns(line)
        thought, answer = reply.split("⇒")
        messages = _messages([asked, answer])
        messages[1]["reasoning_content"] = thought
        rows.append({"messages": messages})
    return rows


def _pairs() -> list[dict[str, Any]]:
    rows = []
    for line in _lines(samples_talk.PAIRS):
        turns = _turns(line)
        rows.append(
            {
                "conversation": [
                    {"human": h, "assistant": a} for h, a in zip(turns[::2], turns[1::2], strict=True)
                ]
            }
        )
    return rows


def _history() -> list[dict[str, Any]]:
    rows = []
    for line in _lines(samples_talk.HISTORY):
        turns = _turns(line)
        if len(turns) == 1:
            rows.append({"query": line, "response": _LONE_ANSWERS[line], "history": []})
        else:
            history = [list(pair) for pair in zip(turns[:-2:2], turns[1:-2:2], strict=True)]
            rows.append({"query": turns[-2], "response": turns[-1], "history": history})
    return rows


def build(rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file."""
    chats = {
        "messages": _multi_turn(),
        "sharegpt": _sharegpt(),
        "thinking": _thinking(),
        "conversation": _pairs(),
        "query_response": _history(),
    }
    for rows in chats.values():
        rng.shuffle(rows)
    return {**chats, "tools": samples_tools.build(rng)}
