"""The words of the sample chats, one chat a line, its turns (user, assistant, user, ...) between `｜`.

In SYSTEM_TALK the first piece is the system's message; in THINKING each answer has what was thought before `⇒`.
"""

from __future__ import annotations

MULTI_TURN = """
How do I keep basil alive on a windowsill?｜Give it light, water it when the top of the soil is dry, and pinch off the tips.｜The leaves are turning yellow.｜That is usually too much water. Let the soil dry and make sure the pot can drain.
What is a good first camera?｜A used mirrorless body with one small lens is plenty to learn on.｜Why used?｜Cameras age slowly, so you save half the price and lose very little.｜And which lens?｜A 35 mm lens suits streets, friends and rooms alike.
Can you recommend a walk near a lake?｜Gladly. Do you want a short round or a full day?｜About two hours.｜Then take a path that stays on the shore for an hour and turn back at the hour mark; the view changes with the light.
I spilled red wine on the carpet.｜Blot it with a dry cloth, do not rub.｜Done. Now what?｜Put cold water and a little washing-up liquid on it, blot again, and repeat until the cloth stays clean.
Tell me a riddle.｜I have a neck but no head. What am I?｜A bottle?｜Exactly. Would you like a harder one?｜Yes!｜The more you take, the more you leave behind. What are they?｜Footsteps.｜Right again.
Help me name my bakery.｜What do you bake most?｜Rye bread and seed rolls.｜How about "Crumb & Rye"? It is short and says what is inside.
How long should I boil an egg?｜Six minutes for a soft yolk, ten for a firm one.｜Starting from cold water?｜From boiling water. Lower the eggs in with a spoon so that they do not crack.
My bicycle chain squeaks.｜Wipe it, put one drop of oil on each link, turn the pedals and wipe off the rest.｜How often should I do that?｜Every two hundred kilometres, or after a ride in the rain.
Translate "good morning" into Chinese.｜早上好。｜And "good night"?｜晚安。
What does "serendipity" mean?｜Finding something good without having looked for it.｜Use it in a sentence.｜By pure serendipity she sat down next to her future business partner.
I want to learn to swim as an adult. Is it too late?｜Not at all. Many pools offer classes for adults.｜I am afraid of deep water.｜Then start where you can stand and practise breathing out under water; confidence comes first.
Suggest a present for a friend who likes maps.｜A framed old map of the town where you met would be personal.｜That is beyond my budget.｜A puzzle made from a map, or a notebook with map paper on the cover, costs little and still fits.
Why is the sky blue?｜Air scatters blue light more strongly than red light.｜Then why is the evening sky red?｜In the evening the light takes a longer way through the air; most of the blue is scattered out before it reaches you.
Write a haiku about frost.｜White breath on the gate, / the garden holds very still; / one sparrow forgets.｜Now one about thaw.｜Drop by drop the roof / gives its silence to the street. / Boots remember mud.
How do I ask for a pay rise?｜Collect three results you are proud of and ask for a meeting.｜What if they say no?｜Ask what would have to change for a yes, and agree on a date to talk again.
Is it colder on mountains although they are nearer the Sun?｜Yes. The distance hardly matters; the air up there is thinner and holds less heat.｜How much colder?｜Roughly six degrees Celsius for every thousand metres.
Please shorten: "Due to the fact that it was raining, we made the decision to stay at home."｜Because it rained, we decided to stay at home.｜Even shorter?｜It rained, so we stayed home.
What can I cook with rice, eggs and peas?｜Fried rice: cold rice, peas, and the eggs stirred in at the end.｜I have no soy sauce.｜Salt, pepper and a few drops of lemon do nicely.
Who invented the telephone?｜Alexander Graham Bell received the patent in 1876; others, such as Elisha Gray and Antonio Meucci, worked on the same idea.｜So it is disputed?｜Yes, who deserves the credit is still argued about.
I keep forgetting names.｜Repeat the name aloud when you hear it and tie it to a picture.｜An example?｜For "Rose", imagine a rose behind her ear while you say "Nice to meet you, Rose".
怎样种好一盆薄荷？｜放在有散射光的地方，土干了再浇透。｜叶子越长越小怎么办？｜把顶端剪掉，换大一点的盆，新枝会更壮。
我想学写毛笔字，先练什么？｜先练握笔和横竖两种笔画。｜要练多久？｜每天二十分钟，一个月后再写整字，比一开始就临帖稳当。
推荐一本适合睡前读的书吧。｜您喜欢散文还是故事？｜散文。｜那就读汪曾祺写吃的文章，短小温和，读两篇正好入睡。
米饭总是煮得太烂。｜水放多了，米和水按一比一点二试试。｜用的是高压锅。｜那再少放一点，一比一就够，煮好后焖十分钟。
“踌躇”怎么读？｜读作 chóu chú。｜什么意思？｜犹豫不决，也可以形容得意的样子，如“踌躇满志”。
帮我给猫起个名字。｜它是什么颜色？｜黑的，四只脚是白的。｜叫“踏雪”怎么样？古人就这样称呼白蹄的黑猫。
周末想带孩子出去玩，有什么建议？｜孩子多大？喜欢户外还是室内？｜六岁，喜欢虫子。｜带上放大镜去郊外的草地，找一找蚂蚁窝和瓢虫，回来画成一本小册子。
火车和飞机哪个更环保？｜一般来说火车每人每公里的排放低得多。｜那长途呢？｜差距依然存在，坐夜车还能省一晚住宿。
为什么海水是咸的？｜河流把岩石里的盐分带进海里，水蒸发了，盐留下来。｜那湖水为什么大多不咸？｜湖水通常有出口流走，盐分积不起来；没有出口的湖，比如青海湖，就是咸的。
写一句鼓励朋友的话。｜慢一点没关系，你一直在往前走。｜再文雅一些。｜行路虽缓，步步皆是远方。
怎样向外国朋友解释“缘分”？｜可以说它是人与人之间说不清的相遇的机会。｜用英文怎么说？｜You could say "the luck that brings people together".
我想戒掉睡前看手机。｜把充电器放到卧室外面，床头放一本书。｜忍不住怎么办？｜先从提前十分钟开始，每周再加十分钟。
蒲公英的种子为什么会飞？｜每粒种子上有一把绒毛做的小伞，风一吹就升起来。｜能飞多远？｜多数落在几米之内，遇上合适的风也能飞出很远。
请把“我今天很忙”说得委婉一些。｜今天事情稍多，可能要晚一点回复您。｜对象是老板。｜今天手头几件事较紧，我处理完马上向您汇报。
围棋和象棋哪个更难？｜规则上围棋简单，变化却多得多。｜那我先学哪个？｜想快点下起来就学象棋，喜欢慢慢琢磨就学围棋。
衣服上沾了墨水怎么洗？｜先用冷水冲，再用肥皂或牛奶浸一会儿。｜还是有印子。｜用一点酒精轻轻擦，最后照常洗，先在看不见的地方试一下颜色。
鸡蛋怎么判断新鲜？｜放进一碗水里，沉底平躺的最新鲜。｜如果竖起来呢？｜说明放了一阵子，还能吃，要尽快；浮起来的就别吃了。
长城有多长？｜历代长城总长两万一千多公里。｜明长城呢？｜测量结果约八千八百多公里。
我跟室友吵架了，心里难受。｜听起来你很在意这段友谊，愿意说说起因吗？｜他总是不洗碗。｜可以挑一个都轻松的时候，说说自己的感受，再一起排一张轮流表。
数到十用英文怎么说？｜One, two, three, four, five, six, seven, eight, nine, ten.｜十一呢？｜Eleven.
"""

SYSTEM_TALK = """
You are a patient gardener. Answer in one sentence.｜When do I sow tomatoes?｜Sow them indoors about six to eight weeks before the last frost.｜And when do they go outside?｜Once the nights stay above ten degrees and the plants have got used to the wind.
You are a librarian who answers briefly.｜Where do I find poetry?｜Shelf eight, by the window.｜Do you have anything on birds?｜Yes, natural history is on shelf twelve.
你是一位博物馆讲解员，说话亲切。｜这只铜壶是做什么用的？｜它是漏刻的一部分，古人用它滴水计时呢。｜准吗？｜一天大约会差上几刻，守夜人要时常校正。
你是餐馆的服务员，只谈点菜的事。｜有不辣的菜吗？｜有的，清蒸鲈鱼和番茄炒蛋都不辣。｜那就来一份鲈鱼。｜好的，清蒸鲈鱼一份，大约需要二十分钟。
"""

SHAREGPT = """
What is the tallest kind of tree?｜The coast redwood; some are over a hundred metres high.
How do I get chewing gum out of wool?｜Put the sweater into the freezer for an hour and break the gum off.｜It worked!｜Glad to hear it. Air it before you wear it.
Which knot holds two ropes together?｜A sheet bend, especially if one rope is thicker.｜Is a reef knot fine too?｜Only for parcels; it can slip under load.
Give me three words that rhyme with "light".｜Night, kite, bright.
Why do onions make us cry?｜Cutting them sets free a gas that stings the eyes. A sharp knife and a cold onion help.
Explain a palindrome.｜A word that reads the same backwards, such as "level".｜Another one?｜"Rotor".
What should I pack for a day in the hills?｜Water, a rain jacket, a map, something to eat and a small first-aid kit.
How many players are in a volleyball team?｜Six on the court.｜And in beach volleyball?｜Two.
Is a tomato a fruit?｜In botany yes, in the kitchen people treat it as a vegetable.
Write a toast for my sister's wedding in two lines.｜May your house have more laughter than rooms, / and your years more summers than winters.
为什么树叶秋天会变黄？｜天冷以后叶绿素分解，原来被遮住的黄色就露出来了。｜红叶呢？｜有些树还会生成花青素，叶子便成了红色。
怎样挑一个甜的西瓜？｜看纹路清晰、底部的黄斑大，拍起来声音清脆的多半甜。
“画蛇添足”是什么意思？｜比喻做了多余的事，反而不好。｜出自哪里？｜《战国策》。
给我讲个冷笑话。｜冰箱为什么怕热？因为它一直在“冷静”。
自行车胎怎么补？｜找到破口，打磨干净，涂上胶水，等它发黏再贴补片压紧。
蚊子为什么爱咬人？｜雌蚊产卵需要血里的蛋白质，它循着呼出的二氧化碳和体温找人。｜那雄蚊呢？｜雄蚊只吸花蜜和植物汁液。
用“春”字写一句话。｜春风路过门口，把去年的信又翻了一页。
地铁和公交怎么选？｜赶时间坐地铁，想看街景坐公交。
怎么记住圆周率前几位？｜可以用谐音“山巅一寺一壶酒”，对应 3.14159。
茶杯里的茶垢怎么洗？｜撒点小苏打，用湿海绵擦，再冲干净。｜没有小苏打。｜用盐或牙膏也行。
苏轼为什么叫“东坡”？｜他贬居黄州时在城东坡地开荒种田，自号东坡居士。
打喷嚏时能睁着眼吗？｜闭眼多半是反射，大多数人会不自觉地闭上，偶尔也有人能睁着。
"""

THINKING = """
Is 91 a prime number?｜It is odd and its digits add up to 10, so neither 2 nor 3 divides it; it does not end in 0 or 5. 7 times 13 is 91.⇒No, 91 is 7 times 13.
A train leaves at 14:35 and arrives at 17:10. How long does it take?｜From 14:35 to 17:35 would be three hours; 17:10 is 25 minutes earlier, so 2 hours 35 minutes.⇒Two hours and thirty-five minutes.
Which is heavier, a kilogram of feathers or a kilogram of iron?｜Both are said to be a kilogram. The trick is in the material, not in the weight.⇒They weigh the same.
Tom is older than Mia, and Mia is older than Jo. Who is the youngest?｜Tom > Mia > Jo, so the last one is Jo.⇒Jo is the youngest.
What is 15 percent of 240?｜10 percent is 24, 5 percent is half of that, 12. Together 36.⇒36.
If today is Wednesday, what day is it in 100 days?｜100 = 14 * 7 + 2, so two days after Wednesday.⇒It will be a Friday.
I have 3 red and 5 blue socks in the dark. How many must I take to be sure of a pair?｜Two colours. In the worst case the first two differ, the third must match one of them.⇒Three socks.
Rearrange the letters of "listen" into another word.｜Letters: l, i, s, t, e, n. "Silent" has s, i, l, e, n, t: the same six.⇒Silent.
A square has a perimeter of 36 cm. What is its area?｜A side is 36 / 4 = 9, and 9 * 9 = 81.⇒81 square centimetres.
What comes next: 2, 6, 12, 20, 30?｜The differences are 4, 6, 8, 10, so the next is 12, and 30 + 12 = 42.⇒42.
鸡兔同笼，共 8 个头、22 只脚，各有几只？｜如果全是鸡，有 16 只脚，多出 6 只脚；每只兔多 2 只脚，所以兔有 3 只，鸡有 5 只。验算：5×2+3×4=22。⇒鸡 5 只，兔 3 只。
小明有 24 颗糖，分给三个同学后自己剩 3 颗，每个同学分到几颗？｜24-3=21，21÷3=7。⇒每个同学 7 颗。
“三人行，必有我师焉”出自哪里？｜这句话是孔子说的，收在《论语·述而》。⇒出自《论语·述而》。
1 到 100 的和是多少？｜首尾相加是 101，共 50 对，50×101=5050。⇒5050。
从一楼走到三楼要 40 秒，照这个速度从一楼走到六楼要多久？｜一楼到三楼是两层，每层 20 秒；一楼到六楼是五层，5×20=100。⇒100 秒。
一张纸对折三次，有几层？｜每折一次层数翻倍：2、4、8。⇒8 层。
哪个数比 50 小，是 7 的倍数，而且个位是 2？｜7 的倍数有 7、14、21、28、35、42、49，个位是 2 的是 42。⇒42。
北京时间晚上八点，伦敦冬天是几点？｜北京是东八区，伦敦冬天是零时区，相差八小时，20-8=12。⇒中午十二点。
甲比乙早到，丙比甲早到，谁最后到？｜顺序是丙、甲、乙，最后的是乙。⇒乙最后到。
一根绳子长 12 米，剪成每段 3 米，要剪几次？｜12÷3=4 段，剪成 4 段只需剪 3 次。⇒剪 3 次。
“明”字由哪两个字组成？｜左边是“日”，右边是“月”。⇒由“日”和“月”组成。
我先向东走 3 公里，再向北走 4 公里，离起点直线多远？｜东和北垂直，是直角三角形，3 的平方加 4 的平方是 25，开方得 5。⇒5 公里。
"""

PAIRS = """
What is the capital of Portugal?｜Lisbon.｜And of Norway?｜Oslo.
How do you spell "necessary"?｜N-E-C-E-S-S-A-R-Y: one c and two s.
My tea is too bitter.｜Steep it for a shorter time, or let the water cool a minute before you pour.｜Thanks, that helped.｜You are welcome.
Name a string instrument.｜The cello.｜A smaller one?｜The ukulele.
Can penguins fly?｜No, but they fly through the water, so to speak.
What colour do blue and yellow paint make?｜Green.
你会唱歌吗？｜我不会发声，但可以帮你写歌词。｜写一句关于海的。｜海把月光叠成信，一浪一浪寄给岸。
普通话有几个声调？｜四个声调，再加轻声。
怎么折一只纸船？｜长方形纸对折，上角向中间折，下边向上翻，撑开压平，再拉开两端。
今天心情不好。｜愿意说说发生了什么吗？｜考试没考好。｜一次成绩说明不了全部，休息一下，再看看错在哪里。
“桃李满天下”形容什么人？｜形容学生很多的老师。
夏天怎么给房间降温？｜白天拉上窗帘，清早和夜里开窗对流。
写个请假条的开头。｜尊敬的老师：因家中有事，特向您请假一天。
"""

HISTORY = """
I am planting a hedge.｜Which height do you want in the end?｜Two metres.｜Hornbeam grows to that in about five years and keeps its leaves into winter.
What is an atlas?｜A book of maps.｜Why is it called that?｜After the giant Atlas, whose picture stood on the title pages of early map books.
Hello!｜Hello, how can I help?｜Suggest a word for "very tired".｜Exhausted.
Count the letters of "river".｜Five.｜Which of them occur twice?｜Only r.
Do cats see in the dark?｜Not in complete darkness, but they need far less light than we do.｜Do dogs?｜Better than people, not as well as cats.
Please round 3.14159.｜To how many decimals?｜Two.｜3.14.
你好。｜你好，有什么可以帮你？｜“葳蕤”怎么读？｜读作 wēi ruí，形容草木茂盛。
北极有企鹅吗？｜没有，企鹅主要生活在南半球。｜那北极有什么？｜有北极熊、海象和北极狐。
我想买一盆花。｜放在哪里？｜朝北的窗台。｜可以选绿萝或者吊兰，它们不需要太多阳光。
写一个关于雨的比喻。｜雨像没有写完的信。｜换一个。｜雨像一群赶路的脚。
太阳从哪边升起？｜东边。｜每天都是正东吗？｜只有春分和秋分前后接近正东，夏天偏北，冬天偏南。
What does a cartographer do?
怎样把一封信写得真诚？
"""
