"""General knowledge as questions and answer keywords, English and Chinese; one a line: question | keyword, keyword.

Of the test questions the first six ask in other words for what training tells, the next six do so in the other
language, and the last eight ask for what no training row holds.
"""

from __future__ import annotations

import random
from typing import Any

_TRAIN = """
What gas do plants take in for photosynthesis?|carbon dioxide
Which planet is closest to the Sun?|Mercury
Which planet is the largest in the solar system?|Jupiter
Which planet is known for its bright rings?|Saturn
What are the three states of matter met in daily life?|solid, liquid, gas
At what temperature does water boil at sea level, in Celsius?|100 degrees
At what temperature does water freeze, in Celsius?|0 degrees
What are the primary colours of light?|red, green, blue
How many bones does an adult human have?|206
Which organ pumps blood through the body?|heart
Which organ is the largest of the human body?|skin
Which gas makes up most of the air?|nitrogen
What is table salt made of?|sodium, chlorine
What are the chemical elements of water?|hydrogen, oxygen
Which metal is liquid at room temperature?|mercury
Which mineral is the hardest in nature?|diamond
How many legs does a spider have?|eight
How many legs does an insect have?|six
Which animal is the largest on Earth?|blue whale
Which land animal is the fastest?|cheetah
Which birds cannot fly but swim well?|penguins
What do bees make from nectar?|honey
What do caterpillars turn into?|butterfly, moth
What do pandas mostly eat?|bamboo
What does a snake do with its tongue?|smell
Which ocean is the largest?|Pacific Ocean
Which continent is the coldest?|Antarctica
Which continent is the largest?|Asia
Which mountain is the highest above sea level?|Mount Everest
Which desert is the largest hot desert?|Sahara
Name the four seasons of the temperate zone.|spring, summer, autumn, winter
What are the four main points of the compass?|north, east, south, west
What causes the tides?|Moon, Sun, gravity
Why does the Moon shine?|it reflects sunlight
How long does the Earth take to go round the Sun?|one year, about 365 days
How many minutes are there in an hour?|60
How many sides does a hexagon have?|six
How many degrees do the angles of a triangle add up to?|180
What is the smallest prime number?|2
Which instrument measures temperature?|thermometer
Which instrument measures air pressure?|barometer
Which instrument shows distant stars?|telescope
植物通过什么过程制造养分？|光合作用
太阳系中离太阳最远的行星是哪一颗？|海王星
太阳属于哪一类天体？|恒星
月球绕地球一圈大约要多久？|约27天
一天有多少个小时？|24小时
地球表面大部分被什么覆盖？|海洋，水
世界上最长的河流通常认为是哪一条？|尼罗河
中国最长的河流是哪一条？|长江
世界上面积最大的国家是哪一个？|俄罗斯
世界上最深的海沟是哪一条？|马里亚纳海沟
空气中我们呼吸需要哪种气体？|氧气
铁生锈需要什么条件？|水，氧气
水的化学式是什么？|H2O
金刚石和石墨由哪种元素组成？|碳
声音在什么环境里不能传播？|真空
光和声音哪个传得快？|光
彩虹的七种颜色是什么？|红，橙，黄，绿，蓝，靛，紫
磁铁有哪两极？|南极，北极
摩擦力会让运动的物体怎样？|减速
杠杆的三个要素是什么？|支点，力，力臂
人用什么器官呼吸？|肺
人的血液为什么是红色的？|血红蛋白，铁
成年人一般有多少颗牙齿？|32颗
人体的消化从哪里开始？|口腔
鲸鱼属于鱼类吗？|不是，哺乳动物
蝙蝠靠什么辨别方向？|回声定位
蜘蛛用什么捕捉飞虫？|蛛网
青蛙的幼体叫什么？|蝌蚪
企鹅主要生活在哪里？|南半球，南极
骆驼的驼峰里储存的是什么？|脂肪
树木的年龄可以看什么？|年轮
种子发芽需要哪些条件？|水，空气，适宜的温度
仙人掌的刺是由什么变成的？|叶
古代中国的四大发明是什么？|造纸术，印刷术，指南针，火药
农历八月十五是什么节日？|中秋节
围棋棋子有哪两种颜色？|黑，白
钢琴有多少个琴键？|88个
三角形的内角和是多少度？|180度
一公里等于多少米？|1000米
冰融化后变成什么？|水
二十四节气的第一个是什么？|立春
指南针为什么能指方向？|地球磁场
用什么仪器可以看清细菌？|显微镜
"""

_TEST = """
An ant is an insect: how many legs has it got?|six
The biggest organ of a human being is which one?|skin
With what do you read the temperature of a room?|thermometer
骆驼背上的驼峰里装着什么？|脂肪
铁钉在怎样的条件下容易生锈？|水，氧气
石墨是由哪种元素构成的？|碳
大熊猫以什么为主食？|竹子
潮汐的涨落由什么引起？|月球，太阳，引力
空气中含量最多的是哪种气体？|氮气
A tadpole grows up to be which animal?|frog
How do bats find their way in the dark?|echolocation
Paper, printing, the compass and what else make up China's four great inventions?|gunpowder
Which star is nearest to the Earth?|Sun
A violin usually has how many strings?|four
Earthquakes are recorded with what device?|seismograph
Owls hunt mostly at what time?|night
蚕吐出的丝可以织成什么？|丝绸
章鱼有几条腕足？|八条
奥运五环代表几个大洲？|五个
雪花通常有几个角？|六个
"""

QUESTIONS = (
    "Which planet is the largest in the solar system?",
    "What do bees make from nectar?",
    "Which gas do we breathe out more of than we breathe in?",
    "古代中国的四大发明是什么？",
    "为什么冬天呼出的气是白色的？",
)


def _rows(table: str) -> list[dict[str, Any]]:
    rows = []
    for line in table.strip().splitlines():
        question, keywords = line.split("|")
        separator = "，" if "，" in keywords else ", "
        rows.append({"question": question, "answer_keywords": keywords.split(separator)})
    return rows


def build(rng: random.Random) -> dict[str, list[Any]]:
    """The training rows, shuffled; the test rows in the order described above; questions to try a model with."""
    train = _rows(_TRAIN)
    rng.shuffle(train)
    return {"dataset": train, "test": _rows(_TEST), "questions": list(QUESTIONS)}
