"""How a judge ends its answer, and how the verdict is read: strictly, so that what is not clear is unparsable."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from basereward.data.outcomes import Choice, Verdict
from basereward.registry import Registry

# Responses have letters in some forms, and there are no more of them.
MOST_RESPONSES = len(ascii_lowercase)
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_PLACES = {
    name: place
    for names in (map(str, range(1, MOST_RESPONSES + 1)), _WORDS, _ORDINALS, ascii_lowercase)
    for place, name in enumerate(names)
}
# What brackets say of two responses alone: of three, C is one of them.
_OF_TWO: dict[str, Choice] = {"a>b": 0, "a>>b": 0, "b>a": 1, "b>>a": 1, "a=b": "tie", "c": "tie"}
MARKUP = re.compile(r"[*_`#>$]")
THOUGHT_TAGS = ("<think>", "</think>")
_QUOTES = re.compile("[\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d]")
# Quotation marks and not apostrophes: they stand outside of words, on both sides.
_SINGLE_QUOTES = re.compile(r"(?<!\w)['\u2018]([^'\u2018\u2019]*)['\u2019](?!\w)")
_BULLET = re.compile(r"^(?:[-+\u2022]|\d+[.)])\s+")
_BOX = re.compile(r"\\boxed\{(?:\\text\{)?([^{}]*)\}{1,2}")
_VALUE = r"\"?(?:response )?(\d+|tie)\"?"
# A colon and a full stop may be those of Chinese text.
_END = r"\s*[.\u3002]?"
_LINE = re.compile(rf"(?:final )?verdict\s*[:\uff1a]\s*{_VALUE}{_END}", re.IGNORECASE)
_TAG = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_IN_TAG = re.compile(r"(?:(?:response|answer) )?(\d+|tie)(?: is (?:better|best|the best))?[.。]?", re.IGNORECASE)
_BRACKETS = re.compile(r"\[\[\s*(A>>B|A>B|A=B|B>A|B>>A|[A-Z]|tie)\s*\]\]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])(?=\s)|(?<=[.!?\u3002\uff01\uff1f]\")(?=\s)|\n+")
# Where a verdict may begin: at a line, a sentence, a tag or brackets.
_VERDICT_START = re.compile(rf"\n|(?:{_SENTENCE_END.pattern})\s*|(?=<answer>)|(?=\[\[)", re.IGNORECASE)
_HOW_MUCH = r"(?:(?:much|slightly|clearly|significantly) )?"
_STATEMENT = re.compile(
    rf"\b(?:(?:response|answer) (?P<number>\d+|{'|'.join(_WORDS)}|[a-z])|(?P<ordinal>{'|'.join(_ORDINALS)}) "
    rf"(?:response|answer)) is {_HOW_MUCH}(?:better|best|the best)\b|\bare (?P<tie>equally good)\b|"
    # Numbers alone name responses where they begin a sentence or clause and are compared with each other.
    rf"(?:^|(?<=[,;:] ))(?P<bare>\d+) is {_HOW_MUCH}better than (?:response |answer )?\d+\b",
    re.IGNORECASE,
)
# Words that turn a statement into something else if they stand before it, or in its own clause behind it.
DOUBT = re.compile(
    r"\b(?:not|never|no|nothing|neither|nor|none|cannot|hardly|doubt\w*|den(?:y|ies|ied)|disagree\w*|whether|if|unless|"
    r"might|may|could|would|false|untrue|wrong|unclear|unsure|hard to)\b|n['\u2019]t\b|\?",
    re.IGNORECASE,
)
# What a sentence gives as a reason before it states something: "Response 2 is wrong, so ...", "Since it cannot, ...".
_REASON = re.compile(
    r"^(?:since|because|as|given|although|though|while|whereas)\b.*,|[,;]\s*(?:so|thus|hence|therefore|but|yet)\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"[,;:(]|\b(?:because|since|as|for|but|and|than)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class VerdictFormat:
    """A form of the verdict.

    Args:
        instruct: what the judge is told about the end of its answer, for a number of responses.
        find: all verdicts that a text holds, thoughts left out, for a number of responses.
        write: the answer of a judge that thinks something, possibly nothing, and prefers the response at a place.
    """

    name: str
    instruct: Callable[[int], str]
    find: Callable[[str, int], Iterable[Choice]]
    write: Callable[[str, int], str]

    def read(self, text: str, responses: int = 2, is_cut_off: bool = False) -> Verdict:
        """Return the verdict of an answer: what all its verdicts say, if there is one and they agree.

        An answer that was cut off has not come to its verdict, whatever it says on the way.
        """
        found = set() if is_cut_off else set(self.find(after_thoughts(text), responses))
        return Verdict(found.pop() if len(found) == 1 else "unparsable", text, is_cut_off=is_cut_off)

    def thought(self, text: str, responses: int = 2) -> str:
        """Return what an answer says before its verdict: its thought if it marks one, else all before the verdict."""
        before, _, rest = text.rpartition("</think>")
        if marked := before.rpartition("<think>")[2].strip():
            return marked
        choice = self.read(rest, responses).choice
        # The shortest end that still says the same is the verdict.
        starts = [match.end() for match in _VERDICT_START.finditer(rest)]
        places = [place for place in reversed(starts) if self.read(rest[place:], responses).choice == choice]
        return rest[: places[0]].strip() if places else ""

    def holds(self, thought: str) -> bool:
        """Return whether a thought can be written in front of each verdict, and is then read as it was written.

        One that brings tags of thoughts along, or a verdict of its own, cannot.
        """
        if any(tag in thought for tag in THOUGHT_TAGS):
            return False
        return all(self.read(self.write(thought, place)).choice == place for place in range(2))


def after_thoughts(text: str) -> str:
    """Return what follows the last thought of an answer; nothing if that has no end."""
    rest = text.rpartition("</think>")[2]
    return "" if "<think>" in rest else rest


def _choice(name: str, responses: int) -> Choice:
    """Return the place that a number, letter or word names, ``tie``, or ``unparsable`` for a place beyond the last."""
    if name.lower() in ("tie", "equally good"):
        return "tie"
    place = _PLACES.get(name.lower(), responses)
    return place if place < responses else "unparsable"


def _plain_quotes(text: str) -> str:
    """Return the text with every quotation mark as ``"``."""
    return _SINGLE_QUOTES.sub(r'"\1"', _QUOTES.sub('"', text))


def _find_lines(text: str, responses: int) -> Iterable[Choice]:
    """Read lines that hold a verdict alone; without any, boxes that are a line of their own.

    A box beside a verdict is what a response came to, quoted.
    """
    lines = [_BULLET.sub("", MARKUP.sub("", line).strip()) for line in _plain_quotes(text).splitlines()]
    unboxed = [_BOX.sub(r"\1", line).strip() for line in lines]
    said = [match[1] for line in unboxed if (match := _LINE.fullmatch(line))]
    boxes = [match[1] for line in lines if (match := re.fullmatch(_BOX.pattern + _END, line))]
    values = [match[1] for box in boxes if (match := re.fullmatch(_VALUE, box.strip(), re.IGNORECASE))]
    return [_choice(name, responses) for name in said or values]


def _find_tags(text: str, responses: int) -> Iterable[Choice]:
    matches = [_IN_TAG.fullmatch(inside.strip()) for inside in _TAG.findall(text)]
    return [_choice(match[1], responses) if match else "unparsable" for match in matches]


def _find_digits(text: str, responses: int) -> Iterable[Choice]:
    match = re.fullmatch(r"(\d+)\.?", text.strip())
    return [_choice(match[1], responses)] if match else []


def _find_brackets(text: str, responses: int) -> Iterable[Choice]:
    special = _OF_TWO if responses == 2 else {}
    found = [inside.lower() for inside in _BRACKETS.findall(text)]
    return [special.get(inside, _choice(inside, responses)) for inside in found]


def _find_sentences(text: str, responses: int) -> Iterable[Choice]:
    """Read what the last sentence states; what it denies, doubts or quotes is no verdict."""
    sentences = _SENTENCE_END.split(_plain_quotes(MARKUP.sub("", text)).strip())
    last = sentences[-1]
    return [
        _choice(match["number"] or match["ordinal"] or match["tie"] or match["bare"], responses)
        if _is_stated(last[: match.start()], last[match.end() :])
        else "unparsable"
        for match in _STATEMENT.finditer(last)
    ]


def _is_stated(before: str, after: str) -> bool:
    """Return whether a statement between two parts of its sentence is the speaker's own, and without a condition."""
    is_quoted = before.count('"') % 2 or after.count('"') % 2
    # Reasons take nothing back: neither those in front nor "because it does not guess".
    own = (_REASON.split(before)[-1], _CLAUSE_END.split(after, maxsplit=1)[0])
    return not (is_quoted or any(map(DOUBT.search, own)) or after.rstrip('" ').endswith("?"))


def _listed(options: Sequence[str], last: str) -> str:
    return f"{', '.join(options)} or {last}"


def _numbered(text: str, responses: int) -> list[str]:
    return [text.format(number) for number in range(1, responses + 1)]


def _instruct_lines(responses: int) -> str:
    options = _listed(_numbered('"Verdict: {}"', responses), '"Verdict: tie"')
    return f"End with one line that holds nothing but {options}."


def _instruct_tags(responses: int) -> str:
    return f"End with {_listed(_numbered('<answer>{}</answer>', responses), '<answer>tie</answer>')}."


def _instruct_brackets(responses: int) -> str:
    letters = ascii_lowercase[:responses].upper()
    names = " and ".join(f"Response {place} {letter}" for place, letter in enumerate(letters, 1))
    tie, best = ("[[C]]", "better") if responses == 2 else ("[[tie]]", "best")
    first, *others = (f"[[{letter}]] if {letter} is {best}" for letter in letters)
    return f"Call {names}. End with {', '.join((first, *others))}, or {tie} for a tie."


def _instruct_sentences(responses: int) -> str:
    best = "better" if responses == 2 else "best"
    options = _numbered(f'"Response {{}} is {best}."', responses)
    return f"End with one of these sentences: {_listed(options, chr(34) + 'They are equally good.' + chr(34))}"


def _instruct_digits(responses: int) -> str:
    return f"Answer {_listed(_numbered('{}', responses - 1), str(responses))}, and nothing else."


def _instruct_thoughts(responses: int) -> str:
    *others, last = _numbered("<answer>{}</answer>", responses)
    # Tags of thoughts are control tokens of some tokenizers, which the text of a user must not hold.
    return f"Think first, inside think tags. Then end with {_listed(others, last)}."


def _behind(form: str) -> Callable[[str, int], str]:
    """Return how an answer is written whose verdict is a last line of a form."""

    def write(thought: str, place: int) -> str:
        return "\n".join(filter(None, (thought, form.format(place + 1))))

    return write


def _write_thoughts(thought: str, place: int) -> str:
    return f"<think>{thought}</think><answer>{place + 1}</answer>"


def _write_digit(thought: str, place: int) -> str:
    return str(place + 1)


def _write_brackets(thought: str, place: int) -> str:
    return _behind("[[" + ascii_lowercase[place].upper() + "]]")(thought, place)


DEFAULT_FORMAT = "verdict_line"
# digit is the form of Seed-1.5-VL, think of R1-Reward, which answer_tag reads too where nothing asks for thoughts,
# brackets of MT-Bench and Arena-Hard, sentence of LLaVA-Critic.
FORMATS: Registry[VerdictFormat] = Registry(
    "judge prompt",
    {
        entry.name: entry
        for entry in (
            VerdictFormat(DEFAULT_FORMAT, _instruct_lines, _find_lines, _behind("Verdict: {}")),
            VerdictFormat("answer_tag", _instruct_tags, _find_tags, _behind("<answer>{}</answer>")),
            VerdictFormat("think", _instruct_thoughts, _find_tags, _write_thoughts),
            VerdictFormat("digit", _instruct_digits, _find_digits, _write_digit),
            VerdictFormat("brackets", _instruct_brackets, _find_brackets, _write_brackets),
            VerdictFormat("sentence", _instruct_sentences, _find_sentences, _behind("Response {} is better.")),
        )
    },
)
