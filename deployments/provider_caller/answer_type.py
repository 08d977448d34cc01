"""What kind of thing a question asks for, and whether a sentence holds one that the question does not."""

import re

_YEAR = re.compile(r"\b(?:1\d{3}|20\d{2})s?\b|\b\d{1,4} (?:BC|AD|BCE|CE)\b")
_DATE = re.compile(
    r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December|Monday|Tuesday"
    r"|Wednesday|Thursday|Friday|Saturday|Sunday|century|centuries|spring|summer|autumn|winter|years? (?:ago|later))\b"
)
_NUMBER = re.compile(
    r"\d[\d,.]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fifteen|twenty|thirty"
    r"|forty|fifty|sixty|hundreds?|thousands?|millions?|billions?|half|third|quarter|once|twice|dozens?|percent)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![.!?\"“]\s)(?<!^)\b[A-Z][\w’'-]+")
_REASON = re.compile(
    r"\b(?:because|due to|since|so that|in order to|as a result|owing to|thanks to|therefore|caused? by|causes?"
    r"|to (?:avoid|prevent|allow|make|keep|protect|reduce|help)|leads? to|led to|reasons?)\b",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"\b(?:is|are|was|were) (?:an?|the|any|one|known|called|defined|when|how|used)\b"
    r"|\b(?:means?|refers? to|called|known as|defined as|consists? of)\b"
)

_ASKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("date", re.compile(r"\bwhen\b|\b(?:what|which)(?: \w+)? (?:year|date|day|month|century|decade|time|period)s?\b")),
    (
        "number",
        re.compile(
            r"\bhow (?:many|much|far|long|old|tall|high|large|big|often|fast|deep|wide|heavy|hot|cold|few)\b"
            r"|\b(?:percent\w*|number|population|distance|amount|rate|temperature|score|cost|price)\b"
        ),
    ),
    ("name", re.compile(r"\bwho(?:m|se)?\b|\bwhere\b|\b(?:what|which)(?: \w+)? (?:person|city|country|state|place)\b")),
    ("reason", re.compile(r"\bwhy\b|\bwhat (?:causes?|caused|reason|makes?)\b|\bhow (?:do|does|did|can)\b")),
    ("definition", re.compile(r"^\W*(?:what|who) (?:is|are|was|were) (?:an? |the )?[\w-]+(?: [\w-]+)?\W*$")),
)
_HOLDS = {
    "date": (_YEAR, _DATE),
    "number": (_NUMBER,),
    "name": (_NAME,),
    "reason": (_REASON,),
    "definition": (_DEFINITION,),
}


def answer_type(question: str) -> str | None:
    """date, number, name, reason, definition, or None where the question does not tell."""
    lower = question.lower()
    return next((kind for kind, pattern in _ASKS if pattern.search(lower)), None)


def holds(kind: str, sentence: str, question: str) -> bool:
    """Whether the sentence holds something of the kind that does not already stand in the question."""
    lower = question.lower()
    return any(item.lower() not in lower for pattern in _HOLDS[kind] for item in pattern.findall(sentence))
