"""Where sentences begin and end in English prose, Markdown included. Rules only: no model, no language data."""

import re


def _listed(names: str) -> frozenset[str]:
    return frozenset(names.split())


ABBREVIATIONS = _listed(
    "mr mrs ms dr prof st sr jr rev hon gen col lt sgt capt maj gov sen rep pres supt messrs mme mlle "
    "v vs etc al cf c ca approx viz resp est fig figs eq eqs no nos vol vols ch chap sec pp ed eds trans op "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun "
    "inc ltd co corp bros dept univ assn mt ft ave blvd rd e.g i.e u.s u.k u.n a.m p.m b.c a.d ph.d m.d b.a m.a"
)
"""Words after which a full stop seldom ends a sentence, lower case, without their last full stop."""

_MAY_END = _listed("etc al inc ltd co corp bros jr sr u.s u.k u.n a.m p.m b.c a.d ph.d m.d b.a m.a")
"""Abbreviations after which a sentence may well end: there, what follows decides."""

_OPENERS = _listed(
    "the a an this that these those it its he she they we you i his her their our in on at by for from to of with "
    "after before during since while when where if as although though because however there here but and or so "
    "yet nor then thus it's is are was were some many most all each both no not one two also another other "
    "what who why how which whose"
)
"""Words that open sentences: after an abbreviation that may end one, one of these in upper case says that it did."""

_STOP = re.compile(r"""[.!?…]+["'”’»)\]*_]*(?=\s)|[。！？]["”』」]*""")
_LINE_START = re.compile(r"(?:[-*+•]|\d{1,3}[.)]|#{1,6})\s")
_LAST_WORD = re.compile(r"([\w.'’&-]+)$")
_NEXT_WORD = re.compile(r"""\s*["'“‘«(\[*_]*([\w’'-]+)""")
_NEWLINES = re.compile(r"[^\S\n]*\n\s*")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Spans [start, end) of the sentences, in order, without the white space around them.

    Every character that is not white space lies in exactly one span. A paragraph, a list item, a heading and a
    table row end a sentence however they end.
    """
    spans: list[tuple[int, int]] = []
    for block_start, block_end in _blocks(text):
        start = block_start
        for stop in _STOP.finditer(text, block_start, block_end):
            if stop.start() >= start and _ends_sentence(text, start, stop, block_end):
                _append(spans, text, start, stop.end())
                start = stop.end()
        _append(spans, text, start, block_end)
    return spans


def _append(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        spans.append((start, end))


def _blocks(text: str) -> list[tuple[int, int]]:
    """Runs of lines that read on: separated by blank lines, list items, headings and table rows."""
    blocks: list[tuple[int, int]] = []
    start = 0
    for gap in _NEWLINES.finditer(text):
        if _separates(text, start, gap):
            blocks.append((start, gap.start()))
            start = gap.end()
    blocks.append((start, len(text)))
    return blocks


def _separates(text: str, start: int, gap: re.Match[str]) -> bool:
    if gap.group().count("\n") > 1 or text.startswith("|", gap.end()):
        return True
    if _LINE_START.match(text, gap.end()):
        # `O\n2) is a gas`: what closes a bracket is no list item.
        return text.count("(", start, gap.start()) <= text.count(")", start, gap.start())
    line = text.rfind("\n", start, gap.start()) + 1
    previous = text[max(line, start) : gap.start()].lstrip()
    return previous.startswith(("#", "|"))


def _ends_sentence(text: str, start: int, stop: re.Match[str], block_end: int) -> bool:
    following = _NEXT_WORD.match(text, stop.end(), block_end)
    if following is None:
        # Nothing but symbols up to the end of the block: they belong to this sentence.
        return not text[stop.end() : block_end].strip()
    if stop.group().lstrip().startswith(("。", "！", "？")):
        return True
    word = following.group(1)
    if word[0].islower():
        # `"Why?" she asked.` reads on, and so does `approx. three`.
        return False
    if stop.group()[0] != "." or len(stop.group().rstrip("\"'”’»)]")) > 1:
        return True
    last = _LAST_WORD.search(text, start, stop.start())
    if last is None:
        return True
    # `by A. A. Michelson`: a letter with a full stop is an initial, not the article that opens a sentence.
    initial = len(word) == 1 and text.startswith(".", following.end())
    return _full_stop_ends(text[start : last.start()], last.group(1), "" if initial else word)


def _full_stop_ends(before: str, last: str, following: str) -> bool:
    """Whether the full stop after `last` ends a sentence, given the word that follows (empty: an initial)."""
    lower = last.lower().lstrip("'’-")
    if not before.strip() and (lower.isdigit() or len(lower) == 1):
        return False  # `1. Boil the water`, `A. Oxygen`: the mark of a list item.
    opener = following.lower() in _OPENERS
    if lower in _MAY_END:
        return opener
    if lower in ABBREVIATIONS:
        # `No. 5` and `fig. 3` go on; a plain "no." at the end of a sentence is told by what follows.
        return lower in {"no", "sat", "sun", "mar", "ms", "ed", "op"} and opener
    if len(last) == 1 and last.isalpha() and last.isupper():
        return opener and last != "I"  # An initial: `J. Smith`.
    if "." in last and all(len(part) == 1 and part.isalpha() for part in last.split(".")):
        return opener  # `U.S.S.R.`
    return True
