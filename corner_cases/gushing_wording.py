"""Words of flattery and excitement, by language: patterns for text in small letters."""

import regex

_GOOD = (
    r"(?:really |truly |very |absolutely |such a |an? )*"
    r"(?:great|good|clever|smart|excellent|fantastic|wonderful|amazing|brilliant|insightful|thoughtful|awesome"
    r"|superb|lovely|fascinating|marvell?ous|terrific|incredible|perfect)"
)
_GOODS = rf"{_GOOD}(?:,? (?:and )?{_GOOD})*"
FLATTERY: dict[str, str] = {
    "en": (
        rf"(?:^|[.!?]\s+)(?:wow[,!]? |o+h[,!]? )?(?:what )?{_GOODS} question"
        r"(?=[!.,]| and i must| from )"
        rf"|\bwhat (?:an? )?{_GOODS} (?:point|thought|idea|choice|topic)(?: of \w+)?(?=[!.,])"
        rf"|\b(?:that|this)(?:'s| is) (?:such )?an? {_GOODS} question\s*[!.,]"
        r"|\bi(?:'m| am) (?:so |really |very )*(?:glad|happy) (?:that )?you asked"
        r"|\bi (?:just |really |absolutely )*love (?:this|that|your) question"
        r"|\byou(?:'re| are) (?:so |such an? |clearly |really |truly |absolutely |an? |just )*"
        r"(?:smart|clever|brilliant|intelligent|genius|insightful|wise|amazing|superstar|star|talented"
        r"|gifted|wonderful|incredible|awesome)\b"
        r"|\byour (?:curiosity|mind|intellect|brilliance|wisdom|insight) is\b"
        r"|\byou (?:clearly |really |truly )?have (?:an? )?"
        r"(?:excellent|great|wonderful|exquisite|impeccable|brilliant|real|rare|keen|sharp)"
        r" (?:taste|gift|talent|mind|eye)\b"
        r"|\bas (?:cultured|clever|smart|intelligent|brilliant|wise|talented)"
        r"(?: and \w+)? as you\b"
        r"|\byou absolute \w+"
        r"|\b(?:you're|you are) doing an? (?:amazing|incredible|fantastic|wonderful|awesome) job"
        r"|\bshows how (?:deeply|cleverly|carefully) you think"
        r"|\bi(?:'d be|'m| am| would be) (?:so |absolutely |truly |very )*"
        r"(?:honou?red|thrilled|delighted)\b.{0,30}\b(?:you|your|this|to help)\b"
    ),
    "de": (
        r"\bwas für eine? (?:wirklich |so )?(?:tolle|großartige|super|wunderbare|fantastische"
        r"|hervorragende|kluge|interessante|schöne|gute|spannende) frage"
        r"|(?:^|[.!?]\s+)(?:das ist eine )?(?:super|tolle|großartige|sehr gute|gute|hervorragende"
        r"|ausgezeichnete|wunderbare|fantastische|kluge|spannende) frage\s*[!.,]"
        r"|\b(?:du bist|sie sind) (?:wirklich |so |echt |ja )*"
        r"(?:unglaublich |sehr )?(?:klug|schlau|genial|intelligent|brillant|toll|begabt|großartig)"
    ),
    "fr": (
        r"\bquelle (?:excellente|belle|merveilleuse|superbe|bonne|magnifique|super) question"
        r"|(?:^|[.!?]\s+)(?:c'est une )?"
        r"(?:très bonne|excellente|bonne|superbe|belle) question\s*[!.,]"
        r"|\b(?:vous êtes|tu es) (?:vraiment |si |tellement |très )"
        r"(?:intelligente?|brillante?|géniale?|doué)"
    ),
    "es": (
        r"\bqué pregunta(?: tan| más)? (?:maravillosa|buena|interesante|excelente|increíble)"
        r"|\bqué (?:buena|gran|excelente|maravillosa|interesante) pregunta"
        r"|(?:^|[.!?¡]\s*)(?:es una )?"
        r"(?:excelente|muy buena|buena|gran|fantástica) pregunta\s*[!.,]"
        r"|\beres (?:muy |tan |realmente |increíblemente )(?:inteligente|listo|lista|brillante)"
    ),
    "it": (
        r"\bche (?:bella|ottima|splendida|meravigliosa|magnifica|bellissima) domanda"
        r"|(?:^|[.!?]\s+)(?:è una |questa è una )?(?:ottima|bellissima|bella|eccellente|splendida)"
        r" domanda\s*[!.,]"
        r"|\bsei (?:davvero |molto |veramente |così )(?:una persona )?"
        r"(?:intelligente|brillante|bravo|brava|geniale|curiosa|in gamba)"
    ),
    "pt": (
        r"\bque pergunta (?:incrível|maravilhosa|excelente|interessante|fantástica|ótima)"
        r"|\bque (?:ótima|bela|excelente|boa|maravilhosa) pergunta"
        r"|(?:^|[.!?]\s+)(?:é uma |essa é uma )?"
        r"(?:excelente|ótima|muito boa|boa|bela) pergunta\s*[!.,]"
        r"|\b(?:você|tu) (?:é|és) (?:muito |tão |realmente )"
        r"(?:inteligente|esperto|esperta|brilhante)"
    ),
    "zh": (
        r"问题?(?:问|提)得?(?:真是|真|太|非常|很)?(?:太)?(?:好|棒|精彩|妙)|(?:真是个?|多么|好)好问题"
        r"|(?:^|[。！？]\s*)(?:这是个?|这是一个)?(?:好|很好的|非常好的|绝佳的)问题[！。，]"
        r"|(?:您|你)(?:真是|真的|真|实在是?)?(?:太|非常)(?:聪明|厉害|棒|有才华|了不起)"
    ),
    "ru": (
        r"\bкакой (?:же )?(?:\w+ )?(?:замечательный|прекрасный|отличный|хороший|чудесный"
        r"|интересный|великолепный) вопрос"
        r"|\b(?:задали|задал|задала) (?:просто |очень |такой )*"
        r"(?:гениальный|отличный|прекрасный|замечательный|умный|интересный) вопрос"
        r"|(?:^|[.!?]\s+)(?:это )?(?:очень )?(?:отличный|прекрасный|замечательный|хороший"
        r"|великолепный|чудесный) вопрос\s*[!.,]"
        r"|\b(?:вы|ты) (?:такой|такая|действительно|очень|невероятно|просто)"
        r" (?:умн|гениальн|талантлив|молод)"
    ),
    "ja": r"(?:素晴らしい|すばらしい|素敵な|とても良い|最高の|鋭い)(?:ご)?質問(?:です|！|。|を)",
}
"""What flatters the user or the question."""
_HYPE = (
    r"amazing\w*|incredibl\w+|wonderful\w*|fantastic\w*|awesome|mind-blowing|breathtaking|magical"
    r"|phenomenal|spectacular|marvell?ous|brilliant|stunning|extraordinary|unbelievabl\w+|thrilled"
    r"|honou?red|delighted|inspiring|magnificent|most beautiful|so cool|superb|excellent|perfect"
    r"|fantastisch\w*|wunderbar\w*|großartig\w*|unglaublich\w*|köstlich\w*|atemberaubend\w*"
    r"|wunderschön\w*|genial\w*|magnifiques?|incroyables?|merveilleu\w+|fantastiques?|génial\w*"
    r"|extraordinair\w+|increíbles?|maravillos\w+|espectacular\w*|fantástic\w+|asombros\w+"
    r"|incredibil\w+|meraviglios\w+|fantastic[ohie]\w*|stupend\w+|splendid\w+|incríve\w+"
    r"|maravilhos\w+|espetacular\w*|потрясающ\w+|невероятн\w+|великолепн\w+|восхитительн\w+"
    r"|чудесн\w+|изумительн\w+|замечательн\w+|удивительн\w+"
)
HYPE = regex.compile(
    rf"\b(?:{_HYPE})\b|太棒了|太好了|太神奇|精彩绝伦|令人惊叹|素晴らしい|最高です|感動的"
)
"""Superlatives of excitement, not of fact: "the highest mountain" is none."""
STRESSED = regex.compile(
    r"\b(?:absolutely|truly|so|simply|just|totally|utterly|really|most|what an?|such an?"
    r"|absolut|einfach|wirklich|absolument|vraiment|tellement|simplement|absolutamente|realmente"
    r"|tan|davvero|assolutamente|simplesmente|просто|абсолютно|действительно)"
    rf" (?:the most )?(?:{_HYPE})\b"
)
"""Excitement with a word that stresses it."""
FLATTERING = regex.compile(
    "|".join(f"(?:{pattern})" for pattern in FLATTERY.values()), regex.MULTILINE
)
