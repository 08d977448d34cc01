"""Recognises a question's operation type by plain signs: cheap, explainable, and right where a rule speaks at all.

What no rule knows is for the classifier. Rules run on every request, so each has a gate: words of which at least one
stands in any text that its patterns match. Looking for them costs a hundredth of what the patterns do.
"""

import re
from dataclasses import dataclass

OPERATIONS = ("reasoning", "code", "research", "factual", "practice", "curriculum", "diagnostic", "chat")

_HEAD, _TAIL = 1500, 500
"""Characters of a long text that are read: what is asked for stands at its beginning or its end."""


@dataclass(frozen=True, slots=True)
class Match:
    """`because` ends the sentence "The question ..."."""

    operation: str
    because: str


@dataclass(frozen=True, slots=True)
class Rule:
    """`pattern` is for lower-case text."""

    match: Match
    gate: tuple[str, ...]
    pattern: re.Pattern[str]

    def fits(self, text: str) -> bool:
        """Whether a lower-case text matches."""
        # A plain loop: a generator costs more than all the look-ups.
        for word in self.gate:
            if word in text:
                return self.pattern.search(text) is not None
        return False


def _rule(operation: str, because: str, gate: str, *patterns: str) -> Rule:
    return Rule(Match(operation, because), tuple(gate.split()), re.compile("|".join(patterns), re.MULTILINE))


_LANGUAGES = r"python|javascript|typescript|java|rust|golang|sql|bash|html|css|c\+\+|c#|regex"
_PROGRAMS = rf"(?:function|script|program|{_LANGUAGES})(?!\w)"

RULES = (
    _rule(
        "code",
        "holds a code block",
        "``` def class import from function public select",
        r"```",
        r"^\s*(?:def|class|import|from|function|public|select)\s.*[:({;*]\s*$",
    ),
    _rule(
        "code",
        "shows an error of a program",
        "traceback error: exception: stack",
        r"\btraceback \(most",
        r"\b\w+(?:error|exception):",
        r"\bstack ?trace\b",
    ),
    _rule(
        "code",
        "asks for a program",
        "write implement refactor debug fix optimi unit",
        rf"\b(?:write|implement|refactor|debug|fix|optimi[sz]e|unit[- ]?test)\b.{{0,60}}\b{_PROGRAMS}",
    ),
    _rule("research", "names a web address", "http www.", r"https?://", r"\bwww\.\w"),
    _rule(
        "research",
        "asks for what is new",
        "latest newest breaking date current recent",
        r"\b(?:latest|newest|breaking news|up[- ]to[- ]date)\b",
        r"\bcurrent(?:ly)? (?:news|price|version|rate)\b",
        r"\brecent(?:ly)? (?:news|studies|research|papers|developments|published)\b",
    ),
    _rule(
        "research",
        "asks to search for sources",
        "search look find",
        r"\b(?:search the web|look up online|find (?:me )?(?:sources|papers|articles))\b",
    ),
    _rule(
        "practice",
        "asks for exercises",
        "quiz test practi exercise homework mock sample give worksheet flash",
        r"\b(?:quiz|test) me\b",
        r"\b(?:practi[sc]e|exercise|homework|mock|sample) (?:question|problem|quiz|test|exam|sheet)(?:s|zes)?\b",
        r"\bgive me (?:\w+ ){0,3}(?:exercise|problem|question|quiz|worksheet)(?:s|zes)?\b",
        r"\b(?:make|create|generate|write) (?:\w+ ){0,3}(?:quiz|worksheet|flash ?cards?)\b",
    ),
    _rule(
        "diagnostic",
        "asks what was understood or went wrong",
        "check mark grade assess evaluate review wrong what weak strong right correct keep always here",
        r"\b(?:check|mark|grade|assess|evaluate|review) my\b(?! (?:code|script|query|function|pull|program))",
        r"\bwhere did i go wrong\b",
        r"\bhere(?: i|')s my (?:answer|proof|solution|working|essay|attempt)\b",
        r"\bwhat (?:did|am|have) i (?:do|doing|done|get|getting) wrong\b",
        r"\bmy (?:weak|strong)(?:est)? (?:point|spot|area|topic|subject)s?\b",
        r"\bam i (?:right|correct)\b",
        r"\bis (?:my|this) (?:answer|solution|working) (?:right|correct)\b",
        r"\bi (?:keep|always) (?:getting|confus|mak|mix|forget)\w*",
    ),
    _rule(
        "reasoning",
        "asks for a proof or derivation",
        "prove derive contradiction show",
        r"\b(?:prove|derive|disprove|by contradiction)\b",
        r"\bshow that\b.{0,80}[=<>≤≥]",
    ),
    _rule(
        "reasoning",
        "asks to work something out",
        "solve integrate differentiate simplify",
        r"\A\W*(?:please |can you |could you )?(?:solve|integrate|differentiate|simplify)\b.{0,80}[=+^∫√]",
    ),
    _rule(
        "curriculum",
        "names a lesson or class",
        "lesson syllabus curriculum chapter textbook unit grade class year",
        r"\b(?:lesson|syllabus|curriculum|chapter|textbook|unit) ?(?:\d+|on|about)\b",
        r"\b(?:grade|class|year) (?:[1-9]|1[0-2])\b",
    ),
    _rule(
        "chat",
        "is a greeting or thanks",
        "hi hello hey thank good bye",
        r"\A\W*(?:hi|hello|hey|thanks?|thank you|good (?:morning|afternoon|evening)|bye)\b[^?]{0,40}\Z",
    ),
)


def excerpt(question: str) -> str:
    """What is read of a question: a long one's beginning and end, in lower case."""
    if len(question) > _HEAD + _TAIL:
        question = f"{question[:_HEAD]}\n{question[-_TAIL:]}"
    return question.lower()


def match(text: str) -> Match | None:
    """The first rule that fits an excerpt; None when none does."""
    for rule in RULES:
        if rule.fits(text):
            return rule.match
    return None
