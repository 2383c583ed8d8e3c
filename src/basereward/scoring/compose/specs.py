"""What a YAML file of scorers may say: a model, an ensemble or a router, each of which may be a member of others."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, Tag, field_validator, model_validator

from basereward.configuration import Section
from basereward.data.outcomes import RESERVED_PARTS
from basereward.scoring.model_spec import ModelSpec, Spec

MEMBERS, ROUTER = "members", "router"
# Why a prompt fails that a router sends nowhere.
NO_ROUTE = "no_route"
# Why one fails that no member of an ensemble with a weight concerns.
NO_MEMBER = "no_member"
# What stands before the name of a member in the part of a score that is its weight.
WEIGHT = "weight of "


class EnsembleOptions(Section):
    """How the scores of members become one."""

    rule: Literal["mean", "median", "min", "lower", "vote"] = "mean"
    """lower is mean - penalty x standard deviation; vote is the share of members that prefer a response to another,
    averaged over the other responses of its group."""
    weights: Literal["equal", "accuracy", "confidence"] | dict[str, NonNegativeFloat] = "equal"
    """Of mean, lower and vote: of the members by name, or what their weights are measured by on the validation pairs
    (Appendix B): accuracy, the share of pairs that a member ranks right, or confidence, its mean margin."""
    validation: str | None = None
    """File of the pairs on which weights are measured, such as ``data split --sample 1000`` holds out."""
    margin: Literal["signed", "absolute"] = "signed"
    """Of confidence: reward of the chosen response minus that of the rejected one, or its size."""
    penalty: NonNegativeFloat = 1.0
    """Of lower."""
    ties: Literal["tie", "mean"] = "tie"
    """Of vote: as many members for one of two responses as for the other are a tie, or the mean of rewards decides."""
    memory_gib: PositiveFloat | None = None
    """Of the weights of all members in this process: those that do not fit at once take turns. No limit by default."""

    @model_validator(mode="after")
    def _measured(self) -> "EnsembleOptions":
        is_measured = self.weights in ("accuracy", "confidence")
        if is_measured != (self.validation is not None):
            raise ValueError("weights of accuracy or confidence go with a file of validation pairs, and only these do")
        if self.weights != "equal" and self.rule in ("median", "min"):
            raise ValueError(f"{self.rule} takes no weights; use mean, lower or vote")
        return self


class RouterOptions(Section):
    """Which member scores a prompt; one decision for all of its responses."""

    by: Literal["images", "task", "classifier", "trained"] = "images"
    """Whether the prompt shows images or videos; what its record says under ``task``; which of ``tasks`` a judge says
    that it is; or a trained router."""
    routes: dict[str, str] | None = None
    """The member of each value, by name: of ``images`` and ``text``, or of tasks. By default values are the names of
    members."""
    otherwise: str | None = None
    """The member of prompts without a route; without it such prompts fail."""
    tasks: dict[str, str] | None = Field(default=None, min_length=2)
    """Of classifier: each task by name, described in words."""
    classifier: ModelSpec | None = None
    """Of classifier: the judge that is asked, with the device and the length of answer that it says itself."""
    file: str | None = None
    """Of trained: what ``basereward route`` wrote."""
    choose: Literal["select", "soft"] = "select"
    """Of trained: the member that is worth most at its cost, or the mean of all by the log odds of their being right,
    which needs members whose scores have one scale."""
    least: float | None = Field(default=None, ge=0, le=1)
    """Of trained: where no member is expected to rank so large a share of pairs right, ``otherwise`` is asked."""
    memory_gib: PositiveFloat | None = None
    """As for ensembles."""

    @model_validator(mode="after")
    def _asked_for(self) -> "RouterOptions":
        owners = {"classifier": ("tasks", "classifier"), "trained": ("file", "choose", "least")}
        needed = {"classifier": ("tasks", "classifier"), "trained": ("file",)}
        for by, names in owners.items():
            if by != self.by and (foreign := [name for name in names if name in self.model_fields_set]):
                raise ValueError(f"{', '.join(foreign)} go with by: {by}, not with by: {self.by}")
        if missing := [name for name in needed.get(self.by, ()) if getattr(self, name) is None]:
            raise ValueError(f"by: {self.by} needs {' and '.join(missing)}")
        if self.classifier and self.classifier.prompt:
            raise ValueError("a classifier is asked for the kind of task; leave its prompt out")
        if self.routes is not None and self.by == "trained":
            raise ValueError("a trained router knows its members by name; leave routes out")
        if self.by == "images" and (unknown := sorted((self.routes or {}).keys() - {"images", "text"})):
            raise ValueError(f"routes by images are images and text, found {', '.join(unknown)}")
        return self


class ComposedSpec(Spec):
    """Several members under a name."""

    words: ClassVar[str]
    """What stands before the members where it has no name of its own."""

    members: list["AnySpec"] = Field(min_length=1)

    @property
    def label(self) -> str:
        """What result files call it."""
        return self.name or f"{self.words} {', '.join(member.label for member in self.members)}"

    @field_validator(MEMBERS)
    @classmethod
    def _apart(cls, members: list[Spec]) -> list[Spec]:
        labels = [member.label for member in members]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"several members are called {', '.join(twice)}; give each a name of its own")
        if taken := [label for label in labels if label in RESERVED_PARTS or label.startswith(WEIGHT)]:
            raise ValueError(f"parts of a score are called {', '.join(taken)}; give such members other names")
        return members


class EnsembleSpec(ComposedSpec):
    """Several members whose scores become one."""

    tag: ClassVar[str | None] = "(ensemble)"
    words: ClassVar[str] = "ensemble of"

    ensemble: EnsembleOptions = EnsembleOptions()

    @model_validator(mode="after")
    def _weighs_members(self) -> "EnsembleSpec":
        given, known = self.ensemble.weights, {member.label for member in self.members}
        if isinstance(given, dict) and given.keys() != known:
            raise ValueError(f"weights are of {sorted(given)}, the members are {sorted(known)}; give each one weight")
        if isinstance(given, dict) and not any(given.values()):
            raise ValueError("all weights are 0")
        return self


class RouterSpec(ComposedSpec):
    """Several members of which one scores a prompt."""

    tag: ClassVar[str | None] = "(router)"
    words: ClassVar[str] = "router to"

    router: RouterOptions

    @model_validator(mode="after")
    def _leads_to_members(self) -> "RouterSpec":
        known = [member.label for member in self.members]
        named = [*(self.router.routes or {}).values(), *([self.router.otherwise] if self.router.otherwise else [])]
        if unknown := sorted(set(named) - set(known)):
            raise ValueError(f"routes lead to {', '.join(unknown)}; the members are {', '.join(known)}")
        return self


def kind_of_content(content: Any) -> type[Spec]:
    """Return which spec the content of a file or of a member is, by its keys."""
    if isinstance(content, Spec):
        return type(content)
    keys = content.keys() if isinstance(content, dict) else ()
    if ROUTER in keys:
        return RouterSpec
    return EnsembleSpec if MEMBERS in keys or "ensemble" in keys else ModelSpec


AnySpec = Annotated[
    Annotated[ModelSpec, Tag(str(ModelSpec.tag))]
    | Annotated[EnsembleSpec, Tag(str(EnsembleSpec.tag))]
    | Annotated[RouterSpec, Tag(str(RouterSpec.tag))],
    Discriminator(lambda content: kind_of_content(content).tag),
]
EnsembleSpec.model_rebuild()
RouterSpec.model_rebuild()
