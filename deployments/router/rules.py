"""Recognises a question's operation type by its words: cheap, explainable, and right where it speaks at all.

A rule is either sure, then it decides, or a hint, which counts only where nothing better is known.
"""

import re
from dataclasses import dataclass

OPERATIONS = ("reasoning", "code", "research", "factual", "practice", "curriculum", "diagnostic", "chat")


@dataclass(frozen=True, slots=True)
class Match:
    """`because` ends the sentence "The question ..."."""

    operation: str
    because: str
    sure: bool


def _rule(operation: str, because: str, *patterns: str, sure: bool = True) -> tuple[re.Pattern[str], Match]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE), Match(operation, because, sure)


_LANGUAGES = r"python|javascript|typescript|java|rust|golang|sql|bash|html|css|c\+\+|c#|regex"
_PROGRAMS = rf"(?:function|code|script|program|query|class|method|{_LANGUAGES})(?!\w)"

_RULES = (
    _rule("code", "holds a code block", r"```", r"^\s*(?:def|class|import|from|function|public|select)\s.*[:({;*]\s*$"),
    _rule(
        "code", "shows an error of a program", r"\btraceback \(most", r"\b\w+(?:Error|Exception):", r"\bstack ?trace\b"
    ),
    _rule(
        "code",
        "asks for a program",
        rf"\b(?:write|implement|refactor|debug|fix|optimi[sz]e|unit[- ]?test)\b.{{0,60}}\b{_PROGRAMS}",
    ),
    _rule("research", "names a web address", r"https?://", r"\bwww\.\w"),
    _rule(
        "research",
        "asks for what is new",
        r"\b(?:latest|newest|breaking|up[- ]to[- ]date|today'?s)\b",
        r"\b(?:this (?:week|month|year)|current(?:ly)? (?:news|price|version|rate))\b",
        r"\brecent(?:ly)? (?:news|studies|research|papers|developments|published)\b",
    ),
    _rule(
        "research",
        "asks to search for sources",
        r"\b(?:search the web|look up online|find (?:me )?(?:sources|papers|articles))\b",
    ),
    _rule(
        "practice",
        "asks for exercises",
        r"\b(?:quiz|test) me\b",
        r"\b(?:practi[sc]e|exercise|homework|mock|sample) (?:question|problem|quiz|test|exam|sheet)(?:s|zes)?\b",
        r"\bgive me (?:\w+ ){0,3}(?:exercise|problem|question|quiz|worksheet)(?:s|zes)?\b",
        r"\b(?:make|create|generate|write) (?:\w+ ){0,3}(?:quiz|worksheet|flash ?cards?)\b",
    ),
    _rule(
        "diagnostic",
        "asks what was understood or went wrong",
        r"\b(?:check|mark|grade|assess|evaluate|review) my\b",
        r"\bwhere did i go wrong\b",
        r"\bhere(?: i|')s my (?:answer|proof|solution|working|essay|attempt)\b",
        r"\bwhat (?:did i|am i) (?:do|get|miss)\w*\b",
        r"\bmy (?:weak|strong)(?:est)? (?:point|spot|area|topic|subject)s?\b",
        r"\bam i (?:right|correct)\b",
        r"\bis (?:my|this) (?:answer|solution|working) (?:right|correct)\b",
        r"\bi (?:keep|always) (?:getting|confus|mak|mix|forget)\w*",
    ),
    _rule(
        "reasoning",
        "asks for a proof or derivation",
        r"\b(?:prove|proof|derive|derivation|disprove|by induction|by contradiction)\b",
        r"\bshow that\b.{0,80}[=<>≤≥]",
    ),
    _rule(
        "reasoning",
        "asks to work something out",
        r"\bstep[- ]by[- ]step\b",
        r"\b(?:solve|integrate|differentiate|simplify)\b.{0,80}[=+^∫√]",
    ),
    _rule(
        "curriculum",
        "names a lesson or class",
        r"\b(?:lesson|syllabus|curriculum|chapter|textbook|unit) ?(?:\d+|on|about)\b",
        r"\b(?:grade|class|year) (?:[1-9]|1[0-2])\b",
    ),
    _rule(
        "chat",
        "is a greeting or thanks",
        r"\A\W*(?:hi|hello|hey|thanks?|thank you|good (?:morning|afternoon|evening)|bye)\b[^?]{0,40}\Z",
    ),
    _rule(
        "reasoning",
        "asks to compare or weigh",
        r"\b(?:compare|trade-?offs?|pros and cons|why (?:does|do|is|are|did|would|can))\b",
        sure=False,
    ),
    _rule(
        "curriculum",
        "asks for an explanation",
        r"\b(?:explain|teach me|what is the difference between|how (?:does|do|is|are))\b",
        sure=False,
    ),
    _rule(
        "factual",
        "asks for a fact",
        r"\A\W*(?:who|when|where|which|how (?:many|much|old|far|long|tall|big)|what (?:is|are|was|were))\b",
        sure=False,
    ),
)


def match(question: str) -> Match | None:
    """The first rule that fits, sure ones before hints; None when none does."""
    return next((found for pattern, found in _RULES if pattern.search(question)), None)
