"""Recognises a question's operation type by its words: cheap, explainable, and right where it speaks at all.

A rule is either sure, then it decides, or a hint, which counts only where nothing better is known. Rules run on every
request, so each has a gate: words of which at least one stands in any text that its patterns match. Looking for them
costs a hundredth of what the patterns do.
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
    sure: bool


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


def _rule(operation: str, because: str, gate: str, *patterns: str, sure: bool = True) -> Rule:
    return Rule(Match(operation, because, sure), tuple(gate.split()), re.compile("|".join(patterns), re.MULTILINE))


_LANGUAGES = r"python|javascript|typescript|java|rust|golang|sql|bash|html|css|c\+\+|c#|regex"
_PROGRAMS = rf"(?:function|code|script|program|query|class|method|{_LANGUAGES})(?!\w)"

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
        "latest newest breaking date today this current recent",
        r"\b(?:latest|newest|breaking|up[- ]to[- ]date|today'?s)\b",
        r"\b(?:this (?:week|month|year)|current(?:ly)? (?:news|price|version|rate))\b",
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
        "prove proof deriv induction contradiction show",
        r"\b(?:prove|proof|derive|derivation|disprove|by induction|by contradiction)\b",
        r"\bshow that\b.{0,80}[=<>≤≥]",
    ),
    _rule(
        "reasoning",
        "asks to work something out",
        "step solve integrate differentiate simplify",
        r"\bstep[- ]by[- ]step\b",
        r"\b(?:solve|integrate|differentiate|simplify)\b.{0,80}[=+^∫√]",
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
    _rule(
        "reasoning",
        "asks to compare or weigh",
        "compare trade pros why",
        r"\b(?:compare|trade-?offs?|pros and cons|why (?:does|do|is|are|did|would|can))\b",
        sure=False,
    ),
    _rule(
        "curriculum",
        "asks for an explanation",
        "explain teach difference how",
        r"\b(?:explain|teach me|what is the difference between|how (?:does|do|is|are))\b",
        sure=False,
    ),
    _rule(
        "factual",
        "asks for a fact",
        "who when where which how what",
        r"\A\W*(?:who|when|where|which|how (?:many|much|old|far|long|tall|big)|what (?:is|are|was|were))\b",
        sure=False,
    ),
)


def match(question: str) -> Match | None:
    """The first rule that fits, sure ones before hints; None when none does."""
    if len(question) > _HEAD + _TAIL:
        question = f"{question[:_HEAD]}\n{question[-_TAIL:]}"
    text = question.lower()
    for rule in RULES:
        if rule.fits(text):
            return rule.match
    return None
