"""Chinese sentences with thousands of made-up names: a larger set, for a small model to learn finding names by.

The patterns are those of `samples_ner`. Every name is put together from characters and an ending, and no name of the
test side stands in training: whoever knows names by heart finds none of them.
"""

from __future__ import annotations

import random
from typing import Any

import samples_ner

TRAIN_ROWS, TEST_ROWS = 4000, 200
WITHOUT_SHARE = 0.06  # of the rows, those that hold no name
SHORT_TIMES = 2  # how much likelier one of the short patterns is than one of the others
LONGEST = 18  # characters a sentence, so that a small model reads many of them

ENTITY_NAMES = {"GPE": ["地理实体"], "PER": ["人名"], "LOC": ["地点"], "ORG": ["组织"]}
_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严武戴莫孔向汤"
)
_GIVEN = (
    "明国华建文军平志伟东海强晓生光林民永杰波成春秋夏冬雪梅兰竹菊云霞月星辰宇航天宏达远近山川河江湖清泉溪流"
    "玉珍珠宝金银铜铁石磊岩峰岭松柏杨柳桃李杏枝叶花草芳香红蓝青紫白素雅静安宁康健康乐欢喜庆祥瑞福禄寿德仁义礼"
    "智信忠孝诚真善美慧敏聪颖思想念怀忆诗书画琴棋歌舞笑语言行知学博士雄英俊秀丽娟婷婉柔刚毅勇胜凯旋飞翔鹏鹤燕"
    "莺龙虎凤麟"
)
_FIRST = (
    "东南西北青白红黑金银铜石清浊长短高低远近大小新旧上下左右前后春夏秋冬云雨风雪霜雷星月日朝夕晨晚松竹梅兰柳桃"
    "枫槐桂榆龙凤虎马鹿鹤燕雁鱼龟玉珠碧翠丹紫苍黄平安和顺宁康福寿永兴丰盛文武双三五七九百千万古今仙灵神圣"
)
_SECOND = (
    "山河石林溪泉湾岭原野沙洲田园门关口渡桥塘池潭井谷坡岗峰崖洞川江海湖港岛滩坪坝墩台楼亭阁塔寺庙堡寨营屯店铺"
    "庄圩集场坊里巷街城阳阴明光华昌隆泰丰茂盛水火木土金沟垭坳湫浦汀渚矶屿"
)

# The endings of names by label and kind, as in `samples_ner`.
_ENDINGS = {
    "ORG": {
        "SCHOOL": "大学 中学 小学 师范学院 职业学校 音乐学院",
        "FIRM": "公司 银行 航空 造船厂 纺织厂 出版社 保险 酒厂",
        "BODY": "协会 救援队 诗社 气象台 研究所 合作社 俱乐部 医院",
    },
    "GPE": {"LAND": "国 省", "TOWN": "市 县 镇 乡 村"},
    "LOC": {
        "WATER": "湖 江 湾 水道 湿地",
        "WILD": "山 峡谷 草原 沙漠 林场",
        "SPOT": "广场 路 公园 大桥 码头 灯塔",
    },
}
_KINDS = {"PERSON": "PER"} | {kind: label for label, kinds in _ENDINGS.items() for kind in kinds}


_SHORT = """
{PER}来了。
我认识{PER}。
{PER}住在{TOWN}。
{ORG}在{TOWN}。
他去过{LOC}。
{LOC}很美。
{TOWN}下雪了。
{PER}在{ORG}上班。
她是{SCHOOL}的老师。
我们明天去{SPOT}。
{PER}和{PER}是同学。
{FIRM}关门了。
听说{BODY}搬到了{TOWN}。
{WATER}的水很清。
{PER}喜欢{LOC}。
请把信交给{PER}。
{LAND}离{LAND}不远。
{PER}从{TOWN}来。
那年冬天，{PER}离开了{TOWN}。
{ORG}请来了{PER}。
爷爷常说起{LOC}。
{SCHOOL}放假了。
昨晚{PER}梦见了{WATER}。
{TOWN}人都知道{PER}。
车过{SPOT}，就是{SCHOOL}。
谁是{PER}？
{PER}，你好。
这里是{TOWN}。
{BODY}找到了{PER}。
{PER}去了{LAND}。
"""


class _Names:
    """Names of one side, none of which the other side has drawn."""

    def __init__(self, taken: set[str]) -> None:
        self.taken = taken
        self.stems: set[str] = set()

    def draw(self, slot: str, rng: random.Random) -> tuple[str, str]:
        """A label, and a name that fits the slot."""
        kind = slot if slot in _KINDS else rng.choice([k for k, label in _KINDS.items() if label == slot])
        if kind == "PERSON":
            stem = self._stem(
                lambda: rng.choice(_SURNAMES) + "".join(rng.sample(_GIVEN, rng.choice((1, 2, 2))))
            )
            return "PER", stem
        label = _KINDS[kind]
        ending = rng.choice(_ENDINGS[label][kind].split())
        return label, self._stem(lambda: rng.choice(_FIRST) + rng.choice(_SECOND)) + ending

    def _stem(self, drawn: Any) -> str:
        while (stem := drawn()) in self.taken:
            pass
        self.stems.add(stem)
        return stem


def _side(side: str, count: int, names: _Names, rng: random.Random) -> list[dict[str, Any]]:
    patterns, without = samples_ner.patterns(side)
    if side == "train":
        patterns = patterns + SHORT_TIMES * _SHORT.strip().splitlines()
    rows: dict[str, dict[str, Any]] = {}
    for text in without[: round(count * WITHOUT_SHARE)]:
        rows[text] = samples_ner.row(text, [])
    while len(rows) < count:
        row = samples_ner.fill(rng.choice(patterns), lambda slot: names.draw(slot, rng))
        if len(row["text"]) <= LONGEST:
            # The first shown name alone: thousands of rows need not repeat them all.
            for entity in row["entities"]:
                entity["entity_names"] = ENTITY_NAMES[entity["entity_label"]]
            rows[row["text"]] = row
    shuffled = list(rows.values())
    rng.shuffle(shuffled)
    return shuffled


def build(rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """The rows of each side."""
    train = _Names(set())
    sides = {"train": _side("train", TRAIN_ROWS, train, rng)}
    return sides | {"test": _side("test", TEST_ROWS, _Names(train.stems), rng)}
