"""Chats in which the assistant calls a tool: weather, calculator, calendar; results are computed, not invented twice.

Each chat is OpenAI's: `tools`, `tool_calls` with arguments as JSON text, and a message of role `tool` with the result.
"""

from __future__ import annotations

import json
import random
from typing import Any

_CITIES = ["北京", "杭州", "成都", "昆明", "哈尔滨", "Oslo", "Lisbon", "Nairobi", "Quito", "Hobart"]
_SKIES = (("晴", "sunny"), ("多云", "cloudy"), ("小雨", "light rain"), ("小雪", "light snow"))


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


WEATHER = _tool(
    "get_weather",
    "Current weather in a city.",
    {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    ["city"],
)
CALCULATOR = _tool(
    "calculate",
    "Evaluate an arithmetic expression with + - * / and brackets.",
    {"expression": {"type": "string"}},
    ["expression"],
)
CALENDAR = _tool(
    "add_event",
    "Put an event into the user's calendar.",
    {
        "title": {"type": "string"},
        "date": {"type": "string", "description": "YYYY-MM-DD"},
        "minutes": {"type": "integer"},
    },
    ["title", "date"],
)

# What is asked, the expression, its value, what is answered.
_SUMS = """
What is 48 times 17?|48 * 17|816|48 times 17 is 816.
Split a bill of 186 evenly among six friends.|186 / 6|31|Each of you pays 31.
三个苹果每个四块五，再加一瓶十二块的果汁，一共多少钱？|3 * 4.5 + 12|25.5|一共二十五块五。
一块长 14 米、宽 9 米的菜地，面积是多少？|14 * 9|126|面积是 126 平方米。
I walk 6.5 km on each of 12 days. How far is that altogether?|6.5 * 12|78|Altogether you walk 78 kilometres.
把 1000 减去 17 乘以 23 的积，得多少？|1000 - 17 * 23|609|得 609。
How many hours are there in four weeks?|4 * 7 * 24|672|Four weeks have 672 hours.
每页 28 行，一本书 245 页，共有多少行？|28 * 245|6860|共有 6860 行。
A recipe for four needs 350 g of flour. How much do I need for ten?|350 / 4 * 10|875|For ten people you need 875 g of flour.
(15 + 27) 除以 6 是多少？|(15 + 27) / 6|7|结果是 7。
"""
# What is asked, title, date, minutes (may be empty), what is answered.
_EVENTS = """
Please note my dentist appointment on 3 March 2027, half an hour.|Dentist|2027-03-03|30|Done: dentist on 3 March 2027, 30 minutes.
下周的家长会改到 2027 年 4 月 9 日了，帮我记一下，一小时。|家长会|2027-04-09|60|记好了：2027 年 4 月 9 日家长会，一小时。
Add "choir rehearsal" for 14 May 2027, two hours.|Choir rehearsal|2027-05-14|120|Choir rehearsal is in your calendar for 14 May 2027, two hours.
2027 年 6 月 1 日带孩子去动物园，记到日历里。|带孩子去动物园|2027-06-01||已经记在 2027 年 6 月 1 日，没有写时长，需要的话告诉我。
Block 20 July 2027 for moving house.|Moving house|2027-07-20||20 July 2027 is marked for moving house. Tell me if you want a duration as well.
2027 年 8 月 15 日和导师见面四十五分钟。|和导师见面|2027-08-15|45|好的，2027 年 8 月 15 日和导师见面，四十五分钟。
Lunch with Ingrid on 2 September 2027, ninety minutes please.|Lunch with Ingrid|2027-09-02|90|Lunch with Ingrid is set for 2 September 2027, ninety minutes.
帮我安排 2027 年 10 月 22 日的体检，两小时。|体检|2027-10-22|120|体检已经安排在 2027 年 10 月 22 日，预留两小时。
Remember the book fair on 11 November 2027.|Book fair|2027-11-11||The book fair is in your calendar on 11 November 2027.
2027 年 12 月 31 日晚上守岁聚会，三小时。|守岁聚会|2027-12-31|180|守岁聚会记在 2027 年 12 月 31 日，三小时。
"""


def _call(name: str, arguments: dict[str, Any], number: int) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{number:03d}", "type": "function", "function": function}


def _chat(
    asked: str, calls: list[dict[str, Any]], results: list[dict[str, Any]], answer: str
) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": None, "tool_calls": calls},
    ]
    for call, result in zip(calls, results, strict=True):
        messages.append(
            {
                "role": "tool",
                "tool_call_id": call["id"],
                "name": call["function"]["name"],
                "content": json.dumps(result, ensure_ascii=False),
            }
        )
    messages.append({"role": "assistant", "content": answer})
    return {"tools": [WEATHER, CALCULATOR, CALENDAR], "messages": messages}


def _weather(city: str, number: int, rng: random.Random) -> dict[str, Any]:
    degrees, (chinese, english) = rng.randint(4, 27), rng.choice(_SKIES[:3])
    in_chinese = not city.isascii()
    arguments = {"city": city} if in_chinese else {"city": city, "unit": "celsius"}
    result = {"city": city, "sky": chinese if in_chinese else english, "degrees": degrees}
    if in_chinese:
        asked = rng.choice((f"{city}现在天气怎么样？", f"我要去{city}，外面冷不冷？"))
        answer = f"{city}现在{chinese}，气温 {degrees} 度。"
    else:
        asked = rng.choice((f"What is the weather like in {city}?", f"Is it warm in {city} right now?"))
        answer = f"In {city} it is {degrees} degrees Celsius, {english}."
    return _chat(asked, [_call("get_weather", arguments, number)], [result], answer)


def _two_cities(first: str, second: str, number: int, rng: random.Random) -> dict[str, Any]:
    """Two calls in one turn."""
    degrees = rng.sample(range(4, 28), 2)
    calls = [_call("get_weather", {"city": city}, number + k) for k, city in enumerate((first, second))]
    results = [{"city": city, "degrees": value} for city, value in zip((first, second), degrees, strict=True)]
    warmer = (first, second)[degrees.index(max(degrees))]
    if first.isascii():
        asked = f"Which is warmer today, {first} or {second}?"
        answer = f"{warmer}: it is {degrees[0]} degrees in {first} and {degrees[1]} in {second}."
    else:
        asked = f"{first}和{second}今天哪里更暖和？"
        answer = f"{warmer}更暖和：{first} {degrees[0]} 度，{second} {degrees[1]} 度。"
    return _chat(asked, calls, results, answer)


def build(rng: random.Random) -> list[dict[str, Any]]:
    """Thirty-four chats."""
    chats = [_weather(city, 10 * k, rng) for k, city in enumerate(_CITIES)]
    chats += [
        _two_cities(*pair, 200 + 10 * k, rng)
        for k, pair in enumerate(
            (("北京", "昆明"), ("成都", "哈尔滨"), ("Oslo", "Nairobi"), ("Lisbon", "Hobart"))
        )
    ]
    for number, line in enumerate(_SUMS.strip().splitlines(), start=300):
        asked, expression, value, answer = line.split("|")
        result = {"value": json.loads(value)}
        chats.append(_chat(asked, [_call("calculate", {"expression": expression}, number)], [result], answer))
    for number, line in enumerate(_EVENTS.strip().splitlines(), start=400):
        asked, title, date, minutes, answer = line.split("|")
        arguments: dict[str, Any] = {"title": title, "date": date}
        if minutes:
            arguments["minutes"] = int(minutes)
        chats.append(_chat(asked, [_call("add_event", arguments, number)], [{"saved": True}], answer))
    rng.shuffle(chats)
    return chats
