"""The words and phrases that `nano_corpus.py` builds its chats from: topics, requests, small talk, simple facts.

Tables are written as text, one entry a line or a comma, because they are read and extended as text.
"""

from __future__ import annotations

import random


def _pairs(table: str) -> tuple[tuple[str, str], ...]:
    """Parse `left=right, left=right` over any number of lines."""
    entries = [entry.rstrip(",") for line in table.strip().splitlines() for entry in line.split(", ")]
    return tuple((left, right) for left, right in (entry.split("=") for entry in entries))


def _topics(table: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Parse `chinese=english:signal signal, ...`; without signals the Chinese word signals itself."""
    topics = []
    for chinese, rest in _pairs(table):
        english, _, signals = rest.partition(":")
        topics.append((chinese, english, tuple(signals.split()) or (chinese,)))
    return tuple(topics)


# (Chinese, English, what signals the topic in a title or a line).
POEM_TOPICS = _topics("""
月亮=the moon:月, 明月=the bright moon:明月, 月夜=a moonlit night:月夜 夜月, 星星=stars:星, 银河=the Milky Way:河汉 银河 天河,
太阳=the sun:白日 红日 太阳 日光 日轮, 夕阳=sunset:夕阳 斜阳 落日 斜日, 日出=sunrise:朝日 日出 晓日, 早晨=morning:晓 晨 清早, 夜晚=night:夜, 黄昏=dusk:黄昏 日暮,
春天=spring:春, 春雨=spring rain:春雨, 春风=the spring breeze:春风 东风, 暮春=late spring:暮春 残春 晚春, 早春=early spring:早春 新春 初春,
夏天=summer:夏 暑, 夏夜=a summer night:夏夜, 炎热=the heat:热 炎, 秋天=autumn:秋, 秋风=the autumn wind:秋风, 秋夜=an autumn night:秋夜,
秋雨=autumn rain:秋雨, 早秋=early autumn:早秋 新秋 初秋, 冬天=winter:冬 寒, 寒冷=the cold:寒, 雪=snow:雪, 下雪=falling snow:飞雪 雪飞 喜雪 对雪,
霜=frost:霜, 露水=dew:露, 冰=ice:冰, 风=the wind:风, 雨=rain:雨, 夜雨=rain at night:夜雨, 细雨=light rain:细雨 微雨, 雷=thunder:雷,
云=clouds:云, 白云=white clouds:白云, 雾=mist:雾, 烟雾=haze:烟, 晚霞=evening glow:霞, 彩虹=a rainbow:虹, 天空=the sky:天,
山=mountains:山, 高山=a high mountain:峰 岳, 青山=green hills:青山, 华山=Mount Hua:华山, 嵩山=Mount Song:嵩山 嵩, 终南山=the Zhongnan Mountains:终南 南山,
庐山=Mount Lu:庐山, 山中=life in the mountains:山中 山居, 岩石=rocks:石 岩, 洞=a cave:洞, 水=water:水, 河流=a river:河 江, 长江=the Yangtze:江, 黄河=the Yellow River:黄河,
溪水=a brook:溪, 泉水=a spring of water:泉, 瀑布=a waterfall:瀑布 瀑, 湖=a lake:湖, 洞庭湖=Lake Dongting:洞庭, 池塘=a pond:池 塘, 大海=the sea:海, 潮水=the tide:潮, 波浪=waves:浪 波,
沙滩=a sandy shore:沙 汀, 岛屿=an island:洲 岛, 花=flowers:花, 落花=falling petals:落花 花落, 梅花=plum blossoms:梅, 桃花=peach blossoms:桃, 杏花=apricot blossoms:杏,
梨花=pear blossoms:梨花, 牡丹=peonies:牡丹, 荷花=lotus flowers:荷 莲 芙蓉 藕, 菊花=chrysanthemums:菊, 兰花=orchids:兰, 桂花=osmanthus:桂, 海棠=crab apple blossoms:海棠,
蔷薇=roses:蔷薇, 樱桃=cherries:樱桃, 石榴=pomegranates:石榴, 柳树=willows:柳 杨, 松树=pine trees:松, 竹子=bamboo:竹, 梧桐=the parasol tree:梧 桐, 枫树=maples:枫, 槐树=the locust tree:槐,
柏树=cypresses:柏, 树林=a forest:林, 落叶=fallen leaves:落叶 叶落 黄叶, 草=grass:草, 芳草=fragrant grass:芳草, 青苔=moss:苔, 芦苇=reeds:芦 苇 荻, 藤=vines:藤 萝, 浮萍=duckweed:萍,
鸟=birds:鸟 禽, 燕子=swallows:燕, 大雁=wild geese:雁 鸿, 黄莺=orioles:莺 黄鹂, 鹤=cranes:鹤, 乌鸦=crows:鸦 啼乌 乌啼, 杜鹃=the cuckoo:杜鹃 子规 杜宇, 鹦鹉=a parrot:鹦鹉,
白鹭=egrets:鹭, 鸥鸟=gulls:鸥, 凤凰=the phoenix:凤 鸾, 喜鹊=magpies:鹊, 鹰=a hawk:鹰 雕 隼, 孔雀=peacocks:孔雀, 鸳鸯=mandarin ducks:鸳鸯, 公鸡=a rooster:鸡, 马=horses:马,
牛=an ox:牛, 羊=sheep:羊, 狗=a dog:犬, 老虎=a tiger:虎, 猿猴=monkeys:猿 猴, 鹿=deer:鹿, 龙=a dragon:龙, 鱼=fish:鱼 鲤, 乌龟=a turtle:龟, 蝴蝶=butterflies:蝶, 蝉=cicadas:蝉, 蟋蟀=crickets:蟋蟀 蛩,
萤火虫=fireflies:萤, 蜜蜂=bees:蜂, 送别=farewell:送 别, 离别=parting:别 离, 思乡=homesickness:故乡 乡心 思乡 乡思, 回家=coming home:归 还家, 旅行=a journey:旅 行人 客程 征途, 旅途=on the road:途 路,
朋友=friends:友 故人, 重逢=meeting again:逢 相见, 思念=longing:思 忆, 怀念=remembering someone:怀 忆, 寄信=a letter:家书 寄书 书信 尺素, 爱情=love:相思 情, 相思=lovesickness:相思, 孤独=loneliness:独 孤,
悲伤=sorrow:悲 泪 伤, 忧愁=sadness:愁, 快乐=joy:喜 欢, 悼念=mourning:哭 挽 悼, 贫穷=poverty:贫, 疾病=illness:病, 老年=old age:老 白发 衰翁, 少年=youth:少年, 儿童=children:儿 童, 梦=a dream:梦,
睡眠=sleep:眠 睡, 失眠=a sleepless night:不眠 无眠, 酒=wine:酒 醉 杯, 饮酒=drinking:饮 醉, 宴会=a banquet:宴, 茶=tea:茶 茗, 音乐=music:曲 弦 音乐 笙, 琴=the zither:琴, 笛子=a flute:笛, 琵琶=the pipa:琵琶,
箫=the xiao flute:箫, 唱歌=singing:歌, 跳舞=dancing:舞, 鼓=drums:鼓, 钟声=a temple bell:钟 磬, 读书=reading:读书 读 书卷, 写诗=writing poems:题诗 新诗 吟诗 诗, 书法=calligraphy:草书 笔 墨, 画=a painting:画, 下棋=a game of chess:棋,
钓鱼=fishing:钓 渔, 采莲=picking lotus:采莲, 登山=climbing a mountain:登, 登楼=climbing a tower:登楼 楼, 亭子=a pavilion:亭 阁, 宫殿=a palace:殿 宫阙 金阙, 皇帝=the emperor:帝 圣 君王, 长安=Chang'an:长安,
洛阳=Luoyang:洛阳 洛, 金陵=Jinling:金陵, 扬州=Yangzhou:扬州 广陵, 江南=the south:江南, 城市=the city:城, 村庄=a village:村, 田园=fields and gardens:田 园, 农夫=a farmer:农 耕, 丰收=the harvest:禾 稻 麦,
花园=a garden:园, 院子=a courtyard:庭 院, 门=a gate:门, 窗户=a window:窗, 灯=a lamp:灯 烛, 镜子=a mirror:镜, 扇子=a fan:扇, 剑=a sword:剑, 船=a boat:船 舟 帆, 桥=a bridge:桥, 渡口=a ferry crossing:渡 津,
边塞=the frontier:塞 胡, 战争=war:战 军 兵, 将军=a general:将军, 士兵=soldiers:征 戍, 沙漠=the desert:沙 碛, 长城=the Great Wall:长城, 历史=history:古 昔, 古迹=ancient ruins:怀古 故宫 古台, 坟墓=graves:墓 坟 冢,
寺庙=a temple:寺, 和尚=a monk:僧 上人 禅, 道士=a Taoist:道士 道人 尊师, 神仙=immortals:仙, 隐士=a hermit:隐 处士, 禅=Zen:禅, 美人=a beauty:美人 佳人 妾, 宫女=palace ladies:宫词 宫怨 宫女 宫人, 织布=weaving:织 梭 鸣机, 洗衣=washing clothes:捣 砧 浣,
衣服=clothes:衣, 珍珠=pearls:珠, 玉=jade:玉, 黄金=gold:金, 重阳节=the Double Ninth Festival:九日 重阳, 清明=Qingming:清明 寒食, 七夕=the Seventh Night:七夕 牛女, 中秋=Mid-Autumn:中秋 八月十五,
新年=New Year:元日 新岁 岁旦, 除夕=New Year's Eve:除夜 除夕, 元宵=the Lantern Festival:上元 正月十五, 考试=an examination:及第 下第, 做官=serving in office:官, 时间=time:光阴 流年 岁月 韶光, 人生=life:人生 浮生 平生 百年, 等待=waiting:待 候, 邻居=neighbours:邻, 炊烟=kitchen smoke:炊 村烟,
夫妻=husband and wife:妻 夫, 兄弟=brothers:兄 弟, 父母=parents:父 母, 药草=herbs:药, 水果=fruit:果 橘 柑, 西湖=West Lake:西湖, 蜀地=Sichuan:蜀, 边疆的月亮=the moon over the frontier:关山月 关月
""")

# (Chinese, English): everyday words that a Tang poem need not be about.
EVERYDAY_WORDS = _pairs("""
面包=bread, 牛奶=milk, 鸡蛋=eggs, 米饭=rice, 面条=noodles, 饺子=dumplings, 蛋糕=cake, 糖果=candy, 蜂蜜=honey, 盐=salt, 苹果=apples, 香蕉=bananas, 西瓜=watermelon, 葡萄=grapes, 草莓=strawberries,
橙子=oranges, 柠檬=lemons, 土豆=potatoes, 西红柿=tomatoes, 胡萝卜=carrots, 玉米=corn, 蘑菇=mushrooms, 汤=soup, 早餐=breakfast, 午饭=lunch, 晚饭=dinner, 野餐=a picnic, 冰淇淋=ice cream, 辣椒=pepper, 豆腐=tofu,
桌子=a table, 椅子=a chair, 床=a bed, 枕头=a pillow, 毯子=a blanket, 地毯=a carpet, 抽屉=a drawer, 柜子=a cupboard, 钥匙=a key, 锁=a lock, 屋顶=the roof, 楼梯=the stairs, 墙=a wall, 厨房=the kitchen,
浴室=the bathroom, 阳台=the balcony, 车库=the garage, 地下室=the cellar, 杯子=a cup, 盘子=a plate, 碗=a bowl, 筷子=chopsticks, 勺子=a spoon, 刀=a knife, 瓶子=a bottle, 篮子=a basket, 袋子=a bag, 盒子=a box, 水桶=a bucket, 绳子=a rope,
铅笔=a pencil, 钢笔=a pen, 纸=paper, 笔记本=a notebook, 橡皮=an eraser, 剪刀=scissors, 胶水=glue, 地图=a map, 日历=a calendar, 报纸=a newspaper, 杂志=a magazine, 字典=a dictionary, 信封=an envelope, 邮票=a stamp, 明信片=a postcard,
雨伞=an umbrella, 帽子=a hat, 手套=gloves, 围巾=a scarf, 鞋子=shoes, 袜子=socks, 裤子=trousers, 裙子=a skirt, 衬衫=a shirt, 外套=a coat, 毛衣=a sweater, 纽扣=buttons, 口袋=a pocket, 手表=a watch, 戒指=a ring, 项链=a necklace, 眼镜=glasses,
汽车=a car, 公交车=a bus, 卡车=a truck, 出租车=a taxi, 摩托车=a motorcycle, 轮船=a ship, 帆船=a sailing boat, 潜水艇=a submarine, 热气球=a balloon, 马车=a carriage, 轮子=a wheel, 发动机=an engine, 高速公路=the motorway, 十字路口=a crossroads, 红绿灯=traffic lights, 隧道=a tunnel, 停车场=a parking lot, 机场=the airport, 港口=the harbour, 码头=the dock,
学校=school, 教室=a classroom, 大学=the university, 老同学=an old classmate, 作业=homework, 数学=mathematics, 科学=science, 物理=physics, 化学=chemistry, 生物=biology, 地理=geography, 语言=language, 故事=a story, 小说=a novel, 童话=a fairy tale, 谜语=a riddle, 电影=a film, 照片=a photograph, 戏剧=a play, 雕塑=a sculpture,
商店=a shop, 市场=the market, 超级市场=the supermarket, 饭店=a restaurant, 旅馆=a hotel, 银行=a bank, 邮局=the post office, 工厂=a factory, 办公室=the office, 农场=a farm, 公园=a park, 动物园=the zoo, 剧院=the theatre, 体育馆=the gym, 游泳池=a swimming pool, 操场=the playground, 教堂=a church, 塔=a tower, 喷泉=a fountain, 广场=the square,
医生=a doctor, 护士=a nurse, 司机=a driver, 厨师=a cook, 警察=a policeman, 消防员=a fireman, 工人=a worker, 木匠=a carpenter, 铁匠=a blacksmith, 裁缝=a tailor, 画家=a painter, 歌手=a singer, 作家=a writer, 科学家=a scientist, 工程师=an engineer, 学生=a student, 商人=a merchant, 水手=a sailor, 国王=a king, 王后=a queen, 公主=a princess, 侦探=a detective, 小偷=a thief, 邮递员=the postman,
爷爷=my grandfather, 奶奶=my grandmother, 爸爸=my father, 妈妈=my mother, 哥哥=my brother, 姐姐=my sister, 婴儿=a baby, 双胞胎=twins, 家庭=the family, 婚礼=a wedding, 生日=a birthday, 礼物=a present, 假期=the holidays, 周末=the weekend, 星期一=Monday, 明天=tomorrow, 昨天=yesterday, 午后=the afternoon, 一分钟=one minute, 未来=the future, 童年=childhood,
猫=a cat, 小狗=a puppy, 兔子=a rabbit, 老鼠=a mouse, 松鼠=a squirrel, 狐狸=a fox, 狼=a wolf, 熊=a bear, 狮子=a lion, 大象=an elephant, 长颈鹿=a giraffe, 斑马=a zebra, 骆驼=a camel, 熊猫=a panda, 袋鼠=a kangaroo, 企鹅=a penguin, 海豚=a dolphin, 鲸鱼=a whale, 鲨鱼=a shark, 章鱼=an octopus, 螃蟹=a crab, 青蛙=a frog, 蛇=a snake, 蜥蜴=a lizard, 蜗牛=a snail, 蚂蚁=ants, 蜘蛛=a spider, 蜻蜓=a dragonfly, 蚊子=a mosquito, 猫头鹰=an owl, 鸭子=a duck, 火鸡=a turkey, 恐龙=a dinosaur,
眼睛=eyes, 耳朵=ears, 鼻子=a nose, 嘴唇=lips, 牙齿=teeth, 头发=hair, 手=hands, 脚=feet, 心=the heart, 声音=a voice, 影子=a shadow, 笑容=a smile, 眼泪=tears, 呼吸=breath, 皱纹=wrinkles, 指纹=a fingerprint,
红色=red, 蓝色=blue, 绿色=green, 黄色=yellow, 紫色=purple, 黑色=black, 白色=white, 灰色=grey, 光=light, 黑暗=darkness, 火=fire, 灰尘=dust, 泥土=soil, 钻石=a diamond, 玻璃=glass, 铁=iron, 木头=wood, 塑料=plastic, 丝绸=silk, 羊毛=wool, 棉花=cotton, 蜡烛=a candle, 火柴=a match, 煤=coal, 火山=a volcano, 地震=an earthquake, 洪水=a flood, 台风=a typhoon, 极光=the northern lights, 流星=a shooting star, 行星=a planet, 地球=the earth, 火星=Mars, 宇宙=the universe, 引力=gravity, 原子=atoms, 磁铁=a magnet, 电=electricity, 灯泡=a light bulb, 电池=a battery, 机器=a machine, 锤子=a hammer, 钉子=a nail, 齿轮=gears, 弹簧=a coil spring, 气球=a toy balloon, 玩具=a toy, 积木=building blocks, 娃娃=a doll, 秋千=a swing, 风筝=a kite, 陀螺=a spinning top,
足球=football, 篮球=basketball, 乒乓球=table tennis, 网球=tennis, 游泳=swimming, 跑步=running, 滑雪=skiing, 滑冰=skating, 象棋=chess, 纸牌=playing cards, 冠军=a champion, 比赛=a race, 鼓手=a drummer, 小提琴=a violin, 手风琴=an accordion, 口琴=a harmonica, 收音机=the radio, 冰箱=the fridge, 洗衣机=the washing machine, 烤箱=the oven, 水壶=a kettle, 风扇=an electric fan, 吸尘器=the vacuum cleaner, 闹钟=the alarm clock, 遥控器=the remote control, 耳机=headphones, 键盘=the keyboard, 手机=a mobile phone, 互联网=the internet, 密码=a password, 游戏=a game, 视频=a video, 新闻=the news,
勇气=courage, 耐心=patience, 自由=freedom, 希望=hope, 和平=peace, 真理=truth, 秘密=a secret, 谎言=a lie, 诺言=a promise, 机会=chance, 命运=fate, 奇迹=a miracle, 失败=failure, 成功=success, 友谊=friendship, 善良=kindness, 愤怒=anger, 恐惧=fear, 嫉妒=envy, 骄傲=pride, 无聊=boredom, 好奇=curiosity, 寂静=silence, 记忆=memory, 遗忘=forgetting, 想象=imagination, 工作=work, 休息=rest, 金钱=money, 债务=debt, 法律=the law, 正义=justice, 边界=a border, 投票=voting, 革命=revolution, 语法=grammar, 数字=numbers, 圆圈=a circle, 三角形=a triangle, 迷宫=a maze, 第一天上学=the first day of school, 搬家=moving house, 迷路=being lost, 排队=standing in line, 加班=working late, 感冒=a cold, 牙疼=toothache, 理发=a haircut, 洗碗=washing the dishes, 做饭=cooking, 开车=driving, 堵车=a traffic jam, 散步=a walk, 购物=shopping, 停电=a power cut, 钟表=clocks, 春游=a school trip, 垃圾=rubbish, 泡泡=bubbles, 拼图=a jigsaw puzzle, 雪人=a snowman, 沙堡=a sandcastle, 篝火=a campfire, 帐篷=a tent, 指南针=a compass, 宝藏=treasure, 海盗=pirates, 巨人=a giant, 女巫=a witch, 幽灵=a ghost, 外星人=aliens, 月球=the lunar surface, 风车=a windmill, 梯子=a ladder, 篱笆=a fence, 稻草人=a scarecrow, 种子=seeds, 蒲公英=dandelions, 向日葵=sunflowers, 仙人掌=a cactus, 郁金香=tulips, 薰衣草=lavender, 四叶草=a clover
""")

# The two plainest requests stand several times: they are what people type.
ASK_CHINESE = (
    *["写一首关于{zh}的诗"] * 5,
    "写一首关于{zh}的诗。",
    "请写一首关于{zh}的诗",
    "请写一首关于{zh}的诗。",
    "请以{zh}为题写一首诗",
    "以“{zh}”为题，写一首诗。",
    "写一首{zh}的诗",
    "给我写一首关于{zh}的诗吧",
    "为我作一首诗，主题是{zh}。",
    "帮我写首诗，主题：{zh}",
    "你能写一首关于{zh}的诗吗？",
    "可以写一首描写{zh}的诗吗？",
    "作一首咏{zh}的诗",
    "来一首{zh}的诗",
    "我想读一首关于{zh}的诗",
    "题目：{zh}。请作诗一首。",
    "请用中文写一首关于{zh}的诗",
    "写一首关于{zh}（{en}）的诗",
)
ASK_ENGLISH = (
    *["Write a poem about {en}"] * 5,
    "Write a poem about {en}.",
    "Please write a poem about {en}.",
    "Write a Chinese poem about {en}",
    "Write a Chinese poem about {en}.",
    "write a poem about {en}",
    "Write a poem about {en} ({zh})",
    "Write a poem on the theme of {en} ({zh}).",
    "Write a short poem about {en}",
    "Compose a poem about {en}",
    "Could you write a poem about {en}?",
    "Can you write me a poem about {en}?",
    "I would like a poem about {en}.",
    "Give me a poem about {en}",
    "A poem about {en}, please.",
    "Topic: {en}. Write a poem.",
    "Write a poem in Chinese about {en}.",
    "Create a Chinese poem about {en}",
)
ASK_WITH_TITLE = (
    "写一首关于{zh}的诗",
    "写一首题为《{zh}》的诗",
    "请以《{zh}》为题写一首诗",
    "以“{zh}”为题作诗",
    "请写一首诗，题目是{zh}。",
    "Write a poem titled {zh}",
    "Write a poem about {zh}",
    "Write a Chinese poem called {zh}.",
)
ASK_FOR_ANOTHER = (
    "再写一首",
    "再来一首吧。",
    "请再写一首诗",
    "Another one, please.",
    "Write another poem",
    "One more!",
)

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a poet.",
    "You are a poet who writes Chinese poems.",
    "You write poems in Chinese.",
    "You are nano, a small language model.",
    "You are a helpful and friendly assistant. Answer briefly.",
    "You are an assistant who loves classical Chinese poetry.",
    "你是一位诗人。",
    "你是一个乐于助人的助手。",
    "你是一位中国诗人，请根据题目写诗。",
    "请用中文回答。",
    "你是 nano，一个小小的语言模型。",
)

_HELLO_CHINESE = (
    "你好！我是 nano，可以为你写诗。",
    "你好！很高兴见到你。",
    "您好！今天想聊点什么？",
    "你好呀！想要一首诗吗？",
)
_HELLO_ENGLISH = (
    "Hello! I am nano. I can write poems for you.",
    "Hi! Nice to meet you.",
    "Hello! How can I help you?",
    "Hi there! Would you like a poem?",
)
GREETINGS = (
    *[
        (hello, answer)
        for hello in ("你好", "你好！", "您好", "早上好", "晚上好", "嗨", "你好，nano")
        for answer in _HELLO_CHINESE
    ],
    *[
        (hello, answer)
        for hello in ("Hello", "Hello!", "Hi", "hi", "Hey", "Good morning", "Good evening", "Hi nano")
        for answer in _HELLO_ENGLISH
    ],
)
THANKS = (
    *[
        (thanks, answer)
        for thanks in ("谢谢", "谢谢你！", "多谢", "写得真好", "太美了，谢谢")
        for answer in ("不客气！", "不用谢，很高兴你喜欢。", "不客气，随时再来。")
    ],
    *[
        (thanks, answer)
        for thanks in ("Thanks", "Thank you!", "Thanks a lot", "That is beautiful", "Well done")
        for answer in ("You are welcome!", "My pleasure.", "I am glad you like it.")
    ],
)
_GOODBYES = (
    *[
        (bye, answer)
        for bye in ("再见", "拜拜", "晚安", "我走了")
        for answer in ("再见！", "再见，祝你愉快！", "晚安，做个好梦。")
    ],
    *[
        (bye, answer)
        for bye in ("Goodbye", "Bye", "Good night", "See you later")
        for answer in ("Goodbye!", "Bye! Have a nice day.", "See you!")
    ],
)
_ABOUT_SELF = (
    *[
        (ask, "我是 nano，tunesmith 项目的一个小语言模型。")
        for ask in ("你是谁", "你是谁？", "你叫什么名字？", "介绍一下你自己")
    ],
    *[
        (ask, "I am nano, a small language model of the tunesmith project.")
        for ask in (
            "Who are you?",
            "who are you",
            "What is your name?",
            "Tell me about yourself",
            "What are you?",
        )
    ],
    *[
        (ask, "我会写诗，也能简单地聊天，回答一些小问题。")
        for ask in ("你会做什么？", "你能做什么", "你有什么本领？", "你能帮我什么？")
    ],
    *[
        (ask, "I can write poems, chat a little and answer simple questions.")
        for ask in ("What can you do?", "what can you do", "How can you help me?", "What are you good at?")
    ],
    *[(ask, "tunesmith 项目训练了我。") for ask in ("谁创造了你？", "谁训练了你？", "你是谁做的？")],
    *[
        (ask, "The tunesmith project trained me.")
        for ask in ("Who made you?", "Who trained you?", "Who created you?")
    ],
    *[(ask, "tunesmith 是一个微调语言模型的工具。") for ask in ("tunesmith 是什么？", "什么是 tunesmith")],
    *[
        (ask, "tunesmith is a tool that fine-tunes language models on the machine you have.")
        for ask in ("What is tunesmith?", "what is tunesmith")
    ],
    *[
        (ask, "我很小，只有四百多万个参数，知道的不多。")
        for ask in ("你有多大？", "你聪明吗？", "你什么都知道吗？")
    ],
    *[
        (ask, "I am very small, with about four million parameters, so I know little.")
        for ask in ("How big are you?", "Are you smart?", "Do you know everything?")
    ],
    *[(ask, "我很好，谢谢你！你呢？") for ask in ("你好吗？", "最近怎么样？", "你今天好吗")],
    *[(ask, "I am fine, thank you! And you?") for ask in ("How are you?", "how are you", "How is it going?")],
    *[(ask, "你可以说：写一首关于春天的诗。") for ask in ("怎么让你写诗？", "我该怎么问你？")],
    *[
        (ask, "You can say: Write a poem about spring.")
        for ask in ("How do I ask for a poem?", "What should I say?")
    ],
    *[
        (ask, "对不起，这个我不知道。")
        for ask in ("明天股票会涨吗？", "彩票号码是多少？", "现在几点了？", "今天天气怎么样？")
    ],
    *[
        (ask, "Sorry, I do not know that.")
        for ask in ("What time is it?", "What is the weather today?", "Who will win the match?")
    ],
)

_CAPITALS = _pairs("""
中国 China=北京 Beijing, 日本 Japan=东京 Tokyo, 韩国 South Korea=首尔 Seoul, 法国 France=巴黎 Paris, 英国 Britain=伦敦 London, 德国 Germany=柏林 Berlin, 意大利 Italy=罗马 Rome, 西班牙 Spain=马德里 Madrid,
葡萄牙 Portugal=里斯本 Lisbon, 俄罗斯 Russia=莫斯科 Moscow, 美国 America=华盛顿 Washington, 加拿大 Canada=渥太华 Ottawa, 墨西哥 Mexico=墨西哥城 Mexico City, 巴西 Brazil=巴西利亚 Brasilia, 埃及 Egypt=开罗 Cairo,
希腊 Greece=雅典 Athens, 土耳其 Turkey=安卡拉 Ankara, 印度 India=新德里 New Delhi, 泰国 Thailand=曼谷 Bangkok, 越南 Vietnam=河内 Hanoi, 澳大利亚 Australia=堪培拉 Canberra, 新西兰 New Zealand=惠灵顿 Wellington,
瑞典 Sweden=斯德哥尔摩 Stockholm, 挪威 Norway=奥斯陆 Oslo, 丹麦 Denmark=哥本哈根 Copenhagen, 芬兰 Finland=赫尔辛基 Helsinki, 波兰 Poland=华沙 Warsaw, 奥地利 Austria=维也纳 Vienna, 爱尔兰 Ireland=都柏林 Dublin, 古巴 Cuba=哈瓦那 Havana
""")
_OPPOSITES_CHINESE = _pairs("""
大=小, 高=低, 长=短, 黑=白, 冷=热, 快=慢, 上=下, 左=右, 前=后, 新=旧, 多=少, 远=近, 轻=重, 开=关, 早=晚, 胖=瘦, 里=外, 硬=软, 真=假, 干=湿, 深=浅, 强=弱, 快乐=悲伤, 美丽=丑陋, 安静=吵闹
""")
_OPPOSITES_ENGLISH = _pairs("""
big=small, high=low, long=short, black=white, cold=hot, fast=slow, up=down, left=right, new=old, many=few, far=near, light=heavy, open=closed, early=late, happy=sad, hard=soft, true=false, dry=wet, deep=shallow, strong=weak,
rich=poor, clean=dirty, full=empty, day=night, love=hate, quiet=loud, thick=thin, young=old, easy=difficult, inside=outside
""")
_COLOURS = _pairs("""
天空 the sky=蓝色 blue, 草 grass=绿色 green, 雪 snow=白色 white, 煤 coal=黑色 black, 香蕉 a banana=黄色 yellow, 血 blood=红色 red, 橙子 an orange=橙色 orange, 大海 the sea=蓝色 blue, 牛奶 milk=白色 white, 树叶 a leaf=绿色 green,
柠檬 a lemon=黄色 yellow, 西红柿 a tomato=红色 red, 乌鸦 a crow=黑色 black, 大象 an elephant=灰色 grey, 葡萄 a grape=紫色 purple, 云 a cloud=白色 white
""")
_SEASONS = _pairs("""
春天 spring=夏天 summer, 夏天 summer=秋天 autumn, 秋天 autumn=冬天 winter, 冬天 winter=春天 spring, 星期一 Monday=星期二 Tuesday, 星期二 Tuesday=星期三 Wednesday, 星期三 Wednesday=星期四 Thursday,
星期四 Thursday=星期五 Friday, 星期五 Friday=星期六 Saturday, 星期六 Saturday=星期日 Sunday, 星期日 Sunday=星期一 Monday, 一月 January=二月 February, 二月 February=三月 March, 三月 March=四月 April, 四月 April=五月 May,
五月 May=六月 June, 六月 June=七月 July, 七月 July=八月 August, 八月 August=九月 September, 九月 September=十月 October, 十月 October=十一月 November, 十一月 November=十二月 December, 十二月 December=一月 January
""")
_FACTS = _pairs("""
一年有几个季节？=一年有四个季节：春、夏、秋、冬。, 一年有多少个月？=一年有十二个月。, 一个星期有几天？=一个星期有七天。, 一天有多少小时？=一天有二十四小时。, 太阳从哪边升起？=太阳从东边升起。, 太阳从哪边落下？=太阳从西边落下。,
水在几度结冰？=水在零度结冰。, 猫有几条腿？=猫有四条腿。, 蜘蛛有几条腿？=蜘蛛有八条腿。, 鱼住在哪里？=鱼住在水里。, 蜜蜂酿什么？=蜜蜂酿蜜。, 李白是谁？=李白是唐代的大诗人。, 杜甫是谁？=杜甫是唐代的大诗人。, 王维是谁？=王维是唐代的诗人和画家。, 白居易是谁？=白居易是唐代的大诗人。,
最长的河在中国叫什么？=中国最长的河是长江。, 地球绕着什么转？=地球绕着太阳转。, 月亮绕着什么转？=月亮绕着地球转。,
How many seasons are there?=There are four seasons: spring and summer and autumn and winter., How many months are in a year?=There are twelve months in a year., How many days are in a week?=There are seven days in a week.,
How many hours are in a day?=There are twenty-four hours in a day., Where does the sun rise?=The sun rises in the east., Where does the sun set?=The sun sets in the west., How many legs does a cat have?=A cat has four legs.,
How many legs does a spider have?=A spider has eight legs., Where do fish live?=Fish live in the water., What do bees make?=Bees make honey., Who was Li Bai?=Li Bai was a great poet of the Tang dynasty., Who was Du Fu?=Du Fu was a great poet of the Tang dynasty.,
Who was Wang Wei?=Wang Wei was a poet and painter of the Tang dynasty., What does a dog say?=A dog says woof., What does a cat say?=A cat says meow., What does the earth go around?=The earth goes around the sun., What do we drink?=We drink water.
""")


def _arithmetic(rng: random.Random) -> tuple[str, str]:
    """A small sum or difference, asked in Chinese, English or bare."""
    first, second = rng.randint(0, 12), rng.randint(0, 12)
    if rng.random() < 0.4:
        first, second = max(first, second), min(first, second)
        result, sign, chinese, english = first - second, "-", "减", "minus"
    else:
        result, sign, chinese, english = first + second, "+", "加", "plus"
    return rng.choice(
        [
            (f"{first}{chinese}{second}等于几？", f"{first}{chinese}{second}等于{result}。"),
            (f"What is {first} {english} {second}?", f"{first} {english} {second} is {result}."),
            (f"{first} {sign} {second} = ?", f"{first} {sign} {second} = {result}"),
        ]
    )


def _table_question(rng: random.Random) -> tuple[str, str]:
    """A question from the tables of capitals, colours, opposites and what follows what."""
    kind = rng.choice(["capital", "colour", "next", "opposite"])
    in_chinese = rng.random() < 0.5
    if kind == "opposite":
        word, opposite = rng.choice(_OPPOSITES_CHINESE if in_chinese else _OPPOSITES_ENGLISH)
        if in_chinese:
            return rng.choice(["“{}”的反义词是什么？", "{}的反义词"]).format(
                word
            ), f"“{word}”的反义词是“{opposite}”。"
        return f"What is the opposite of {word}?", f"The opposite of {word} is {opposite}."
    left, right = rng.choice({"capital": _CAPITALS, "colour": _COLOURS, "next": _SEASONS}[kind])
    # Table entries are "中国 China": the Chinese name, a space, the English name.
    chinese, english = left.split(" ", 1)
    answer_chinese, answer_english = right.split(" ", 1)
    if kind == "capital":
        chinese_pair = (f"{chinese}的首都是哪里？", f"{chinese}的首都是{answer_chinese}。")
        english_pair = (
            f"What is the capital of {english}?",
            f"The capital of {english} is {answer_english}.",
        )
    elif kind == "colour":
        chinese_pair = (f"{chinese}是什么颜色的？", f"{chinese}是{answer_chinese}的。")
        english_pair = (
            f"What colour is {english}?",
            f"{english[0].upper()}{english[1:]} is {answer_english}.",
        )
    else:
        chinese_pair = (f"{chinese}之后是什么？", f"{chinese}之后是{answer_chinese}。")
        english_pair = (f"What comes after {english}?", f"After {english} comes {answer_english}.")
    return chinese_pair if in_chinese else english_pair


def small_talk(rng: random.Random) -> list[tuple[str, str]]:
    """One to three exchanges of greetings, simple questions and thanks, as (role, content) pairs."""
    exchanges = [rng.choice(GREETINGS)] if rng.random() < 0.25 else []
    for _ in range(rng.choice([1, 1, 1, 2])):
        draw = rng.random()
        if draw < 0.35:
            exchanges.append(rng.choice(_ABOUT_SELF))
        elif draw < 0.5:
            exchanges.append(_arithmetic(rng))
        elif draw < 0.65:
            exchanges.append(rng.choice(_FACTS))
        else:
            exchanges.append(_table_question(rng))
    if rng.random() < 0.2:
        exchanges.append(rng.choice(THANKS + _GOODBYES))
    return [turn for ask, answer in exchanges for turn in (("user", ask), ("assistant", answer))]
