"""English news in sentence patterns, one a line, by class; the two sides share no pattern and no name.

Some stories borrow another class's words (a club's accounts, a school's sports day): counting words is not enough.
"""

from __future__ import annotations

TRAIN_SLOTS = {
    "city": ("Larkford", "Millbrook", "Eastmere", "Port Alder", "Dunmoor", "Fallow Hill"),
    "person": ("Mara Linden", "Tom Okafor", "Elsie Grant", "Ravi Menon", "Jonah Pike", "Clara Voss"),
    "month": ("January", "March", "May", "July", "October"),
    "n": ("three", "four", "six", "eight", "eleven"),
    "h": ("240", "310", "450", "620", "870"),
    "pct": ("4", "7", "12", "18", "23"),
}
TEST_SLOTS = {
    "city": ("Westhollow", "Kingsferry", "Ashby Cross", "Norwick"),
    "person": ("Nadia Holt", "Samuel Reyes", "Ingrid Bell", "Owen Tait"),
    "month": ("February", "April", "September", "November"),
    "n": ("five", "seven", "nine", "ten"),
    "h": ("180", "390", "540", "760"),
    "pct": ("5", "9", "14", "31"),
}

TRAIN = {
    "Sports": """
A late header from {person} gave {city} a 2-1 win over their neighbours on Saturday. The visitors had led for most of the match, but two quick goals after the break turned it round. The side now sits {n} points clear at the top.
{city} rowers took gold on the lake this morning, finishing a full length ahead of the favourites. "We trained in the dark all winter for this," said stroke {person}.
The marathon through {city} drew {h} runners despite heavy rain, and {person} won in a course record.
Coach {person} will leave {city} at the end of the season after {n} years in charge, a promotion from the second division and two cup wins. The club has not named a successor.
Injury has ended the season of defender {person}. Scans on Monday showed a torn ligament in the left knee, and doctors advise staying off the pitch for {n} months.
In the tennis open at {city}, the number one seed went out in the second round. {person}, a qualifier ranked {h}th, won in straight sets without losing a single service game.
Ticket sales for the {city} arena rose by {pct} percent this year, and the board says the money will pay for a new training ground. Fans had asked for cheaper seats instead. The team opens its season at home in {month}.
A team of pupils from {city} won the national under-sixteen basketball final, {n} points ahead of last year's champions. Their captain, {person}, scored half of them and still has an exam on Thursday.
Swimmer {person} broke the national record in the 200 metres butterfly, for the second time in {n} weeks.
Goal-line cameras will be used in every league match from {month}. Referees tested the system at {city} last season, where it overturned {n} decisions. Players said the wait was shorter than they had feared.
Snow forced the organisers of the ski cup in {city} to move both downhill races to Sunday. The course was safe, they said, but nobody could see the second gate.
Cyclist {person} kept the yellow jersey after the long mountain stage to {city}. Rivals attacked {n} times on the last climb and were caught each time.
""",
    "Business": """
Shares in the {city} shipping group fell {pct} percent on Tuesday after it cut its forecast for the year. Fuel has become dearer and freight rates are down. Chief executive {person} said no jobs were at risk.
The central bank left interest rates unchanged in {month}, saying that prices were rising more slowly than it had feared.
A bakery in {city} that began with one oven now supplies {h} shops. Its founder, {person}, turned down two offers to sell. "We grow when the flour is paid for."
Unemployment in the region fell by {pct} percent in {month}, helped by new jobs in logistics and care.
Two furniture makers near {city} agreed to merge, creating a company with {h} employees. The deal needs the approval of the competition office, which is expected within {n} months.
Retail sales rose {pct} percent in {month}. Economists had expected no growth at all. Much of the gain came from garden tools and bicycles.
The football club of {city} posted a loss of {n} million for the third year in a row. Wages swallowed most of the income from tickets and broadcasting. Its bank has asked for a plan by {month}.
Chip maker Norlight raised its profit outlook after orders from car companies picked up. The firm, based in {city}, plans to hire {h} people. Investors sent the stock up {pct} percent.
Insurer Haven & Co. will close {n} branches, the finance director {person} told staff in {city} on Friday. Customers increasingly sign their contracts online.
Coffee prices reached a ten-year high after a poor harvest. Roasters in {city} said they would pass {pct} percent of the rise on to customers and bear the rest themselves.
A start-up from {city} has raised {n} million from investors to rent out tools by the hour. It is not yet profitable. Its owner {person} expects to break even in two years.
The government sold bonds worth {h} million on Wednesday, paying slightly less interest than in {month}. Demand was strong, dealers said.
""",
    "Technology": """
Engineers in {city} have built a battery that charges to four fifths of its capacity in {n} minutes. It uses sodium instead of lithium. The team of {person} wants to test it in delivery vans next.
A software update left thousands of phones unable to make calls on Monday. The maker withdrew it after {n} hours and apologised.
Researchers at {city} trained a small language model on a single laptop. It answers simple questions about weather and timetables, and it says when it does not know. The code has been published.
The satellite launched in {month} has sent its first pictures, mission lead {person} said. They show rivers and roads at a resolution of {n} metres. Data will be free for anyone to download.
Robots now sort parcels in the {city} depot at night. Each of them reads {h} labels an hour and asks a person for help when a label is torn.
A security hole in a popular router lets strangers read passwords, a laboratory in {city} warned. Owners should install version {n} of the firmware at once.
The next generation of processors will use {pct} percent less power at the same speed, according to designer {person}. The trick is memory stacked on top of the chip. The first machines are due in {month}.
Schools in {city} are testing headsets that let pupils walk through a human heart. The software runs on ordinary graphics cards, developer {person} said, and needs no connection to the internet.
A drone with a heat camera found a lost hiker near {city} after only {n} minutes. The algorithm behind it was trained on {h} hours of video.
An open-source browser now blocks tracking by default. Downloads doubled in {month}, and volunteers from {city} fixed {n} crashes in the first week.
Quantum computers are still a long way from everyday use, but a group in {city} has kept {n} qubits stable for almost a second. That is {pct} percent longer than before.
The stadium in {city} opened a wireless network that serves {h} devices at once. Sensors under the seats tell the system where the crowd is. The designers published the protocol so that others can copy it.
""",
    "Education": """
Primary schools in {city} will start half an hour later from {month}. Teachers had complained that pupils were half asleep in the first lesson.
The university of {city} is opening a degree in archive studies with {n} lecturers. Forty places are on offer and {h} students have applied. Lectures begin in {month}.
Homework will be marked only every second week at a school near {city}, head teacher {person} told parents. Staff will use the hours for conversations with pupils instead.
Exam results improved for the third year, the ministry said: {pct} percent more pupils passed mathematics. The gap between town and country schools remains wide.
A travelling classroom reached {n} mountain villages around {city} this spring. Teacher {person} brings books, a projector and a box of magnets.
Evening courses in {city} have never been so popular. {h} adults are learning a language there this term, and the youngest in the class is often the teacher.
A shortage of physics teachers has led {city} to retrain engineers; {n} of them gave their first lessons in {month}, watched from the back row by colleagues.
The school board voted for free lunches for every child from {month}. It costs {pct} percent of the budget. Pupils who eat, said board member {person}, are pupils who listen.
A scholarship founded by {person}, a retired postal worker who never went to college, will pay the fees of {n} students each year.
Tablets have replaced textbooks in two classes in {city}, on trial until {month}. Reading scores went neither up nor down, the evaluation found, but children wrote {pct} percent less by hand.
Girls and boys at {city} will have a sports lesson every day next term. The head teacher, {person}, expects calmer classrooms; pupils expect football.
Apprentices at the vocational school of {city} built a footbridge as their final examination. {n} teachers graded the joints, and the pupils walked across first.
""",
    "Environment": """
Volunteers pulled {h} kilograms of plastic from the river at {city} on Sunday. Most of it had come down with the floods in {month}.
The wetland south of {city} has been declared a reserve. Cranes rest there on their way north, and {person} of the bird society counted {n} pairs this spring.
After {n} dry years the reservoir above {city} is down to {pct} percent. Washing cars and watering lawns is forbidden until further notice.
Scientists measured the warmest {month} on record in the hills around {city}. Snow lay for only {n} days. Farmers fear for the early fruit.
A fire burned {h} hectares of pine forest near {city} before rain stopped it. Rangers believe that broken glass may have started it.
Wolves have returned to the forests of {city} after eighty years. A camera trap photographed {n} cubs in {month}, and sheep farmers have asked for fences.
Air in the centre of {city} was cleaner last winter than at any time since measurements began. Soot fell by {pct} percent after coal stoves were banned, biologist {person} reported.
A company must pay {n} million for letting waste oil run into the bay at {city}. The court said that the fish stocks will need a decade to recover.
Bees are doing better on roofs in {city} than in the fields outside. Researcher {person} blames pesticides: hives in the town lost {pct} percent fewer colonies over winter.
The town of {city} will plant {h} lime trees along its main roads. In summer their shade should cool the streets by two degrees.
Glaciers in the eastern range lost {pct} percent of their ice in {n} years, a survey shows. The streams below carry more water now and will carry much less later.
Pupils from {city} have mapped every hedge in the parish. Their survey found {n} kinds of nesting birds and a species of newt that was thought to be gone. The council has stopped mowing the verges.
""",
    "Culture": """
The museum of {city} is showing {h} drawings that nobody had seen for a century. They were found in a cupboard by curator {person}. The exhibition runs until {month}.
{person} has won the novel prize for a story told by a lighthouse. The jury praised its dry humour.
A choir of {h} voices opened the festival in {city} last night. The audience joined in for the last song, as it does every year.
The old cinema of {city} will show silent films with live piano every Friday in {month}. The first evening sold out in {n} minutes.
Restorers have cleaned the painted ceiling of the town hall at {city}. Under the soot they found {n} angels and a signature. Painter and date had been a riddle until now.
A new translation of the river poems by {person} keeps the rhymes and loses nothing of the jokes. It took {n} years.
Dancers from {n} countries met in {city} for a week of workshops. On the last evening they danced in the market square, in the rain.
The theatre of {city} opened its season with a comedy about a tax inspector. {person}, in the title role, barely speaks and got the loudest laughs of the night.
A violin maker from {city} has rebuilt an instrument of which only a drawing survived. {person} played it in public for the first time in {month}; it sounds like a viola with a cold, and lovely.
Visitors to the national gallery paid {pct} percent more for tickets than last year, yet the rooms are full. The portraits by {person} alone drew {h} people a day.
The city library is lending paintings as well as books. Readers in {city} may hang one at home for {n} weeks. Still lifes go first.
A sculptor has welded the old goalposts of the {city} ground into a heron. {person} calls the work "Away Game". It stands in the foyer of the concert hall until {month}.
""",
}

TEST = {
    "Sports": """
{city} lost in the final of the handball cup, thrown off balance by the early exclusion of keeper {person}. They were {n} goals behind at the interval and never recovered.
After a drawn series the chess club of {city} won promotion on tie-break. Its fourth board, {person}, goes to primary school and has to be home by eight.
Nobody had expected the relay team to medal. A clean last exchange and a furious sprint by {person} brought bronze, {city}'s first in athletics for {n} years.
The striker {person} has signed a new contract with the champions, ending weeks of rumours. Supporters sang outside the stadium in {city} until midnight.
Rain washed out the final day of the cricket match at {city} with {person} two short of a hundred. Captains shook hands at tea. The teams meet again in {month}.
""",
    "Business": """
Car exports have now dropped for {n} months running as demand from abroad weakened. Analysts at a bank in {city} now expect the economy to shrink by {pct} percent in the spring quarter.
The family firm that makes most of the country's buttons has been sold to an investor from {city}. Neither side would name the price. All {h} workers keep their contracts, said manager {person}.
Rents for office space are falling in {city}, where one desk in {n} stands empty. Landlords offer free months and repainted lobbies.
Airline profits have recovered. The carrier from {city} earned {h} million in the year to {month} and will pay a dividend again.
A software house bought its largest competitor for {n} billion in stock, the biggest takeover of the year. Shareholders in {city} vote in {month}. Regulators are likely to look at the prices charged to hospitals.
""",
    "Technology": """
A printer the size of a garage is putting up houses on the edge of {city}. Software steers the nozzle; one operator, {person}, watches the screen. Walls for a bungalow take {n} hours.
The encrypted messenger from {city} has dropped the need for a phone number. Users sign in with a key stored on their device, programmer {person} explained.
A hospital network in {city} went dark for {n} hours after a cyber attack. Backups saved the data. Experts traced the malware to an unpatched server.
Cheap sensors and a neural network can tell from the hum of a lift when it needs repair. The prototype, trained in {city} on {h} recordings, missed one fault in {n}.
The first laptop with a screen that can be read in full sun goes on sale in {month}. Its display draws {pct} percent of the current of a normal one, the engineers in {city} claim.
""",
    "Education": """
Children learn fractions faster with music, a trial in {n} classrooms in {city} suggests. Those who clapped rhythms scored {pct} points higher in the test.
Student loans will be paid out monthly from {month}. Unions welcomed the change; many first-year students had run out of money by {month}.
A boarding school in {city} has given up grades for its youngest. Instead, tutor {person} writes each family a letter of two pages.
Lecturers at the college of {city} went on strike for {n} days over short contracts. Seminars were held on the lawn, with blankets.
Every kindergarten teacher in {city} is to be trained in sign language. So far only {n} of them can sing with deaf children, course leader {person} said. The curriculum follows in {month}.
""",
    "Environment": """
Storks have nested on the chimney of a disused factory in {city}. The owner has promised not to demolish it before {month}, and {person} of the conservation office is delighted.
Sea level along the coast at {city} has risen {n} centimetres since the war. The dykes hold, for now. Salt, however, is creeping into the wells.
Supermarkets threw away {pct} percent less food after a ban on destroying what could still be eaten. Compost plants around {city} report lighter loads.
Drought has turned the moor above {city} to tinder, and walkers are asked to stay away. Peat fires can smoulder underground for {n} months, warned ranger {person}.
Divers found {n} species of coral alive on a reef that was given up as dead. The currents off {city} may have brought cooler water, oceanographers think.
""",
    "Culture": """
An attic in {city} has given up {n} unknown letters by the composer of the harvest mass. They are mostly about soup, says archivist {person}. A pianist will read from them in {month}.
The jazz cellar in {city} closes after forty years. On its last night trumpeter {person} played until the neighbours came down, and then played on.
This year's picture book award goes to {person} for a tale without words. Its {n} colours were printed by hand in {city}.
Puppets taller than houses walked through {city} on Saturday, led by drummers. The parade told the legend of the drowned bell.
Critics were cool about the new opera, but the public in {city} stood and cheered for {n} minutes. Soprano {person} sang the farmer's wife. The stage was bare except for one chair.
""",
}
