"""Chinese sentences with persons, organizations, countries and towns, and places; offsets come from the filling.

Slots such as `{PER}` are filled with names. No pattern stands on both sides; of the names, two in
five of the test side also occur in training, the rest are new. Every name is made up, or a well-known place.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

ENTITY_NAMES = {
    "GPE": ["地缘政治实体", "政治实体", "地理实体", "社会实体"],
    "PER": ["人名", "姓名"],
    "LOC": ["地理位置", "位置", "地点"],
    "ORG": ["组织", "团体", "机构"],
}
FILLS = 3  # rows a pattern with names in it
WRONG_OFFSETS = 4  # rows of `train_with_errors.jsonl` whose offsets do not match their text

# The kinds of names that fit a pattern, as label and kind: `{LOC}` takes any place, `{WATER}` only rivers, lakes, bays.
_NAMES = {
    "PER": {
        "PERSON": "林知远 周晓棠 何建川 苏若兰 陈望舒 梁启明 赵小满 欧阳晴 马文博 沈砚秋 孙立群 田禾 吴桂英 高远 阿依古丽 郑一帆"
    },
    "ORG": {
        "SCHOOL": "临溪大学 石泉中学 望海音乐学院 云岭小学",
        "FIRM": "望海造船厂 北岚微电子公司 河西纺织厂 长亭出版社 南渡运输公司 海文保险",
        "BODY": "青禾县农业局 云岭登山协会 蓝鲸救援队 省气象台 国际鸟类学会 红瓦足球俱乐部",
    },
    "GPE": {
        "LAND": "中国 法国 巴西 肯尼亚 挪威 云南省 甘肃",
        "TOWN": "临溪市 青禾县 云岭镇 望海市 石泉乡 南渡 杭州 成都 河西村",
    },
    "LOC": {
        "WATER": "黄河 洞庭湖 望海湾 青禾湿地 澜溪江",
        "WILD": "云岭主峰 石泉峡谷 塔克拉玛干沙漠 北山林场",
        "SPOT": "红瓦广场 东风路 临溪老码头 海文大厦 白鹭洲公园 南渡大桥",
    },
}
_NEW_NAMES = {
    "PER": {"PERSON": "许青山 唐亦然 罗思齐 方静 司马原 柳春生 丁一鸣 古丽娜尔 范仲秋"},
    "ORG": {
        "SCHOOL": "白桥师范学院 松湾职业学校",
        "FIRM": "东篱园艺公司 飞燕航空 清河口酿酒厂",
        "BODY": "启明天文台 雨巷诗社 乡卫生院 松湾渔业合作社",
    },
    "GPE": {"LAND": "智利 芬兰 蒙古国 贵州省", "TOWN": "白桥市 东篱县 松湾 清河口镇 西安"},
    "LOC": {
        "WATER": "鄱阳湖 清河口滩涂 松湾水道",
        "WILD": "东篱山 祁连山 白桥草原",
        "SPOT": "松湾灯塔 白桥古渡 梧桐街",
    },
}
KNOWN_SHARE = 0.4  # of the names on the test side that training knows too

_TRAIN = """
{PER}昨天从{GPE}出发，前往{LOC}考察。
{ORG}宣布，由{PER}担任新一届主席。
{GPE}代表团今天参观了{ORG}。
台风将于今晚在{WATER}附近登陆，{ORG}已经发布橙色预警。
{PER}出生在{TOWN}，十八岁考入{SCHOOL}。
连日暴雨后，{WATER}的水位上涨了两米。
{ORG}与{ORG}签署了合作协议，{PER}和{PER}出席了仪式。
从{TOWN}到{TOWN}的列车每天只有一班。
“我会回来的。”{PER}站在{LOC}前对记者说。
{TOWN}政府计划在{SPOT}修建一座博物馆。
{PER}教授的新书写的是{LOC}，本月由{FIRM}资助出版。
据{BODY}统计，今年到{GPE}旅游的人数增加了一成。
一艘渔船在{WATER}失去联系，{BODY}连夜派人搜寻。
{PER}、{PER}和{PER}三位同学获得了一等奖。
{ORG}的志愿者每逢周末都到{LOC}捡垃圾。
{GPE}队在决赛中击败了{GPE}队，{PER}打入制胜一球。
清晨，{PER}沿着{WATER}跑了十公里。
{FIRM}去年在{GPE}设立了三个办事处。
记者{PER}从{GPE}发回报道。
{WILD}位于{TOWN}以北，海拔三千多米。
经{PER}介绍，她加入了{BODY}。
{GPE}今年的苹果丰收，{ORG}忙着联系买家。
科考船驶过{WATER}，预计下周抵达{TOWN}。
因为大雾，{SPOT}临时关闭，{BODY}提醒司机绕行。
{PER}辞去了{ORG}的职务，回到{GPE}种茶。
在{WILD}的悬崖上，{PER}拍到了两只雪豹。
{FIRM}派{PER}到{LAND}学习造纸技术。
昨夜的地震，{TOWN}和{TOWN}都有震感。
{PER}老人把珍藏多年的地图捐给了{ORG}。
“请问去{LOC}怎么走？”一位来自{GPE}的游客问道。
{ORG}主任{PER}在会上作了报告。
春天一到，{WATER}岸边的油菜花就开了。
{TOWN}与{LAND}之间的新航线下月开通，首航乘客大多是{ORG}的人。
{PER}花了三年时间，徒步走遍了{WILD}。
听说{PER}要来，{SCHOOL}的孩子们早早等在门口。
{ORG}将在{SPOT}举行露天音乐会，门票免费。
医生{PER}志愿去{GPE}工作两年。
{GPE}的{PER}与{GPE}的{PER}并列第一。
这种蝴蝶只生活在{WILD}一带。
{PER}告诉{PER}，{SCHOOL}的录取通知已经寄出。
{SCHOOL}建校一百周年，{PER}专程从{GPE}赶来祝贺。
施工队在{SPOT}挖出一块石碑，{SCHOOL}的{PER}前来鉴定。
受{ORG}邀请，{GPE}的艺术家将在{SPOT}展出作品。
{PER}的爷爷曾在{ORG}当过钟表匠。
{SPOT}的夜市吸引了不少{GPE}人。
{ORG}对{PER}的说法不予置评。
{LAND}人爱喝茶，{LAND}人爱喝咖啡。
救援直升机从{WILD}上空飞过，{PER}挥动了红围巾。
{PER}当选为{TOWN}历史上最年轻的市长。
{ORG}在公告中感谢了{PER}多年的付出。
"""
_TRAIN_WITHOUT = """
今天的风很大，晾在外面的衣服都吹跑了。
这道题有两种解法，第二种更简单。
明天上午九点开会，请大家准时参加。
他把钥匙忘在了桌子上，只好等室友回来。
苹果和梨都涨价了，香蕉还和上周一样。
孩子们在院子里堆了一个大雪人。
机器运转正常，没有发现任何故障。
如果下雨，活动就改到周末举行。
这本书太厚了，我每天只看十页。
她学会了骑自行车，高兴得一夜没睡着。
水烧开以后，先放盐，再放面条。
小猫躲在沙发下面，怎么叫也不出来。
超过七成的受访者表示愿意尝试。
老师说，错别字要用红笔圈出来。
"""
_TEST = """
获奖名单上有来自{GPE}的{PER}。
{PER}在接受采访时否认将离开{ORG}。
{LOC}发现一处古代窑址，{BODY}随即封闭了现场。
去年冬天，{PER}独自驾船横渡{WATER}。
{BODY}面向{TOWN}的中学生开放参观。
{GPE}选手{PER}因伤退出了比赛。
为了修复{SPOT}，{ORG}筹集了两百万元。
{PER}把第一封信寄到了{ORG}，收信人是{PER}。
候鸟经过{WATER}时，{TOWN}的村民会停下手里的活。
{SCHOOL}副院长{PER}昨晚抵达{GPE}。
谁也没想到，{PER}竟然在{SPOT}开了一家书店。
{LAND}向{LAND}提供了一批帐篷和药品。
{SPOT}的灯亮了，{PER}这才放下心来。
由于罢工，{FIRM}推迟了运往{LAND}的全部货物。
{PER}和{PER}在{LOC}偶然相遇。
{BODY}起草的方案得到了{TOWN}居民的支持。
在{PER}的画里，{LOC}总是蓝色的。
货轮昨日驶离{TOWN}，船上载着{FIRM}订购的机床。
{PER}曾三次率领{SCHOOL}获得冠军。
离{LOC}不远，就是{PER}小时候住过的老屋。
{PER}的笔迹很难辨认。
一夜之间，{WATER}结了冰。
传单上只印了{ORG}几个字。
"""
_TEST_WITHOUT = """
面包刚出炉，满街都是香味。
电池快没电了，记得晚上充一充。
会议室的投影仪又坏了，只能用白板。
天黑得越来越早，路灯四点就亮了。
排队的人太多，我们决定改天再来。
两支笔一共六块钱，比网上便宜。
窗台上的花忘了浇水，叶子都卷起来了。
他打了个喷嚏，把全班都逗笑了。
"""

_SLOT = re.compile(r"\{([A-Z]+)\}")


def patterns(side: str) -> tuple[list[str], list[str]]:
    """The sentence patterns of a side, `train` or `test`: with names in them, and without."""
    chosen = (_TRAIN, _TRAIN_WITHOUT) if side == "train" else (_TEST, _TEST_WITHOUT)
    with_names, without = (text.strip().splitlines() for text in chosen)
    return with_names, without


def row(text: str, entities: list[dict[str, Any]]) -> dict[str, Any]:
    """A row as the real files have it."""
    return {"text": text, "entities": entities, "data_source": "TUNESMITH"}


def _name(kind: str, side: str, used: set[str], rng: random.Random) -> tuple[str, str]:
    """A label, and a name of that kind that the sentence does not hold yet."""
    label = next(label for label, kinds in _NAMES.items() if kind == label or kind in kinds)
    known = side == "train" or rng.random() < KNOWN_SHARE
    kinds = (_NAMES if known else _NEW_NAMES)[label]
    names = " ".join(kinds.values() if kind == label else [kinds[kind]]).split()
    name = rng.choice([name for name in names if name not in used])
    used.add(name)
    return label, name


def fill(pattern: str, name_for: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    """The pattern filled with names, and where each of them stands (ends exclusive).

    Args:
        name_for: slot -> label and name.
    """
    text, entities, end = "", [], 0
    for match in _SLOT.finditer(pattern):
        text += pattern[end : match.start()]
        label, name = name_for(match.group(1))
        entities.append(
            {
                "start_idx": len(text),
                "end_idx": len(text) + len(name),
                "entity_text": name,
                "entity_label": label,
                "entity_names": ENTITY_NAMES[label],
            }
        )
        text += name
        end = match.end()
    return row(text + pattern[end:], entities)


def _filled(pattern: str, side: str, rng: random.Random) -> dict[str, Any]:
    used: set[str] = set()
    return fill(pattern, lambda slot: _name(slot, side, used, rng))


def _side(side: str, rng: random.Random) -> list[dict[str, Any]]:
    with_names, without = patterns(side)
    rows = {}
    for pattern in with_names:
        filled: dict[str, dict[str, Any]] = {}
        while len(filled) < FILLS:
            made = _filled(pattern, side, rng)
            filled[made["text"]] = made
        rows.update(filled)
    rows.update({text: row(text, []) for text in without})
    shuffled = list(rows.values())
    rng.shuffle(shuffled)
    return shuffled


def _with_errors(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows again, some of them with their first offset moved: what real files hold now and then."""
    copied, left = [], WRONG_OFFSETS
    for number, row in enumerate(rows[:24], start=1):
        entities = [dict(entity) for entity in row["entities"]]
        if left and entities and number % 3 == 0:
            entities[0]["start_idx"] += 1
            entities[0]["end_idx"] += 1
            left -= 1
        copied.append({**row, "entities": entities})
    return copied


def build(rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """The rows of each side, and a short training file with wrong offsets in it."""
    train = _side("train", rng)
    test = _side("test", rng)
    return {"train": train, "test": test, "train_with_errors": _with_errors(train)}
