"""How diverse the instructions are: verbs, openings and vocabulary.

Many rows that ask for the same thing in the same words teach less than their number says
(Wang et al. 2023, "Self-Instruct", whose figure of root verbs is the measure here; Zhou et al.
2023, "LIMA"). Measured are

- root verbs: what an instruction tells one to do, "write", "list", "explain". Self-Instruct
  takes the root of a dependency parse; without a parser it is here the first word of one of the
  first sentences, behind courtesies ("Could you please …") and a leading clause ("Given a text,
  …"), where that word is one of some 370 verbs that instructions begin with. English only:
  the share of instructions that this finds is given, and where it is small the verbs say little.
- questions: the share of instructions whose last sentence ends with a question mark.
- openings: the ten commonest first three words and the share of all that begin with them.
- type/token ratio: distinct words per word, and the same of word pairs (distinct-2, Li et al.
  2016). Both fall with the length of what is measured, so they are means over pieces of 1,000
  words each (the mean segmental type/token ratio, Johnson 1944) of a random sample of the
  instructions in random order: data of any size and order compare.
"""

import random
import re
from collections import Counter
from itertools import pairwise
from typing import Any

_SAMPLE = 10_000
_SEGMENT = 1_000
_BEGINNING = 2_000
_MOST_OPENINGS = 200_000


class Diversity:
    """Measures a stream of instructions: ``add`` each, then ask for ``result``.

    Memory is bounded: a sample of the instructions (reservoir sampling, Vitter's algorithm R) and
    the openings in sight (after lossy counting, Manku and Motwani 2002: where there are too many,
    the rarest are forgotten, and none that could come to be among the ten commonest).
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self._questions = 0
        self._verbs: Counter[str] = Counter()
        self._openings: Counter[str] = Counter()
        self._sample: list[str] = []

    def add(self, instruction: str) -> None:
        """``instruction``: a user's message, any string; empty ones are not counted."""
        text = instruction[:_BEGINNING].strip()
        if not text:
            return
        self._count += 1
        self._questions += text.rstrip("\"')”").endswith(("?", "？"))
        verb = root_verb(text)
        if verb:
            self._verbs[verb] += 1
        self._openings[opening(text)] += 1
        if len(self._openings) > _MOST_OPENINGS:
            self._forget_rare()
        if len(self._sample) < _SAMPLE:
            self._sample.append(text)
        else:
            at = self._random.randrange(self._count)
            if at < _SAMPLE:
                self._sample[at] = text

    def _forget_rare(self) -> None:
        rare = 1
        while len(self._openings) > _MOST_OPENINGS // 2:
            self._openings = Counter({k: n for k, n in self._openings.items() if n > rare})
            rare *= 2

    def result(self) -> dict[str, Any]:
        """Plain data; shares are of all instructions. Without instructions: counts of 0.

        ``{"instructions": n, "root_verbs": [{"verb", "count", "share"}, … 20],
        "distinct_root_verbs": n, "with_root_verb_share": x, "question_share": x,
        "type_token_ratio": x | None, "distinct_2": x | None, "words_measured": n,
        "openings": [{"text", "count", "share"}, … 10], "top10_openings_share": x}``
        """
        count = max(1, self._count)
        verbs = sorted(self._verbs.items(), key=lambda item: (-item[1], item[0]))
        openings = sorted(self._openings.items(), key=lambda item: (-item[1], item[0]))[:10]
        return {
            "instructions": self._count,
            "root_verbs": [
                {"verb": verb, "count": n, "share": n / count} for verb, n in verbs[:20]
            ],
            "distinct_root_verbs": len(verbs),
            "with_root_verb_share": self._verbs.total() / count,
            "question_share": self._questions / count,
            **self._vocabulary(),
            "openings": [{"text": text, "count": n, "share": n / count} for text, n in openings],
            "top10_openings_share": sum(n for _, n in openings) / count,
        }

    def _vocabulary(self) -> dict[str, Any]:
        """Over whole segments; over what there is where that is less than one."""
        texts = sorted(self._sample)
        random.Random(0).shuffle(texts)
        words = [word for text in texts for word in _words(text)]
        segments = [words[at : at + _SEGMENT] for at in range(0, len(words), _SEGMENT)]
        if len(segments) > 1 and len(segments[-1]) < _SEGMENT:
            segments.pop()
        singles = [len(set(segment)) / len(segment) for segment in segments]
        pairs = [
            len(set(pairwise(segment))) / (len(segment) - 1)
            for segment in segments
            if len(segment) > 1
        ]
        return {
            "type_token_ratio": sum(singles) / len(singles) if singles else None,
            "distinct_2": sum(pairs) / len(pairs) if pairs else None,
            "words_measured": sum(map(len, segments)),
        }


_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+(?:['’]\w+)*")


def _words(text: str) -> list[str]:
    """Words in small letters; where no spaces divide them (Chinese, Japanese), characters."""
    return _WORD.findall(text.lower())


def opening(instruction: str) -> str:
    """The first three words, in small letters."""
    return " ".join(_words(instruction[:200])[:3])


_SENTENCE_END = re.compile(r"[.!?:;\n]+\s*|\s+[-–—]\s+")
_FIRST_WORD = re.compile(r"[A-Za-z]{2,20}(?![\w'’])")
_COURTESY = re.compile(
    r"(?:[\"'“*#>(\[-]+\s*|\d{1,3}[.)]\s*)?"
    r"(?:(?:hello|hi|hey|please|kindly|now|then|first|next|finally|also|ok|okay|so|and)[, ]+"
    r"|(?:can|could|would|will|do) you (?:please |kindly |also |help me (?:to )?|know how to )?"
    r"|(?:i(?:'d| would)? (?:want|need|like)(?: you)? to )"
    r"|(?:your (?:task|job|goal) is to |you (?:are asked|have|need|should|must)(?: to)? )"
    r"|(?:help me (?:to )?|let(?:'s| us) |try to |in this task,? ))",
    re.IGNORECASE,
)
_LEADING_CLAUSE = re.compile(
    r"(?:given|using|based on|considering|in|for|from|if|after|with|according to|as)\b",
    re.IGNORECASE,
)


def root_verb(instruction: str) -> str:
    """What an English instruction tells one to do, in its base form; "" where it is not found.

    An approximation, see the module.
    """
    for sentence in _SENTENCE_END.split(instruction[:600], maxsplit=4)[:4]:
        verb = _leading_verb(sentence)
        if verb:
            return verb
        if _LEADING_CLAUSE.match(sentence):
            for clause in sentence.split(", ")[1:4]:
                verb = _leading_verb(clause)
                if verb:
                    return verb
    return ""


def _leading_verb(sentence: str) -> str:
    start = 0
    for _ in range(4):
        courtesy = _COURTESY.match(sentence, start)
        if not courtesy:
            break
        start = courtesy.end()
    word = _FIRST_WORD.match(sentence, start)
    verb = word[0].lower() if word else ""
    return verb if verb in _VERBS else ""


_VERB_LIST = """
accept act adapt add address adjust advise advocate agree aim allow alphabetize alter analyse
analyze annotate announce answer append apply argue arrange articulate ask assemble assess assign
assist assume attach attempt author autocomplete balance begin brainstorm break bring build
calculate call cancel capitalize caption capture categorise categorize change characterize chat
check choose cite clarify classify clean close code collect combine come comment compare compile
complete compose compress compute conclude conduct configure conjugate connect consider construct
continue contrast contribute convert convince copy correct count craft create criticize critique
debate debug decide declare decode decompose deduce define delete deliver demonstrate derive
describe design detail detect determine develop devise diagnose diagram differentiate discover
discuss display distinguish divide document draft draw edit elaborate eliminate emulate encode
encourage enhance enter enumerate equate establish estimate evaluate examine execute exhibit
expand explain explore express extend extract fetch figure fill filter find finish fix flag follow
forecast form format formulate gather generate get give go group guess guide handle help highlight
hypothesize identify illustrate imagine imitate implement improve include increase indicate infer
inform insert inspect install instruct integrate interpret introduce invent investigate join judge
justify keep label lay learn leave link list locate look make manage map mark match maximize
measure memorize merge minimize model modify multiply name narrate navigate negate normalize note
number observe obtain offer open order organise organize outline output paint paraphrase parse
pass perform persuade pick place plan play plot point portray predict prepare present print
prioritize process produce program proofread propose prove provide punctuate put quantify query
quote randomize rank rate read rearrange recall recite recognize recommend reconstruct record
recount reduce refactor refer refine reflect reformat reformulate relate remember remove rename
render reorder reorganize repair repeat rephrase replace reply report represent request research
resolve respond restate restructure retell return reverse review revise reword rewrite round run
save say scan schedule score search select send separate set shorten show sign simplify simulate
sketch solve sort specify speculate spell split stand start state stay stop structure study
subtract suggest sum summarise summarize supply support swap take talk teach tell test think
tokenize touch trace track train transcribe transform translate turn tweet unscramble update use
utilize validate verbalize verify view visualize walk watch weigh work write
"""
_VERBS = frozenset(_VERB_LIST.split())
