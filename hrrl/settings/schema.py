"""The typed schema of params.yaml. Every key that the pipeline reads is defined here, and no other is accepted.

It only checks: stages read params.yaml itself, or what the stage ``resolve`` wrote from it, so that a new key, method
or dataset kind makes no result outdated.
"""

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from hrrl import concepts, methods
from hrrl.data import augment, locate, readers, synsets
from hrrl.errors import UserError
from hrrl.methods.constraints import Shares
from hrrl.settings import params_file
from hrrl.settings.params_file import shown
from hrrl.train import fixed_step_batches, launch, recipes, runtime, weights
from hrrl.transfer import search

INT_MAX = 10**9
FLOAT_MIN, FLOAT_MAX = 1e-12, 1e12  # products of settings and losses stay within float32
SIZE_MAX = 4096  # of an image, in pixels
WEIGHTS = {"weights", "weights_backbone", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"}
SEED_MAX = 2**63 - 1  # torch takes unsigned 64 bits; epochs and processes are added


def _computable(value: float) -> float:
    if value and not FLOAT_MIN <= abs(value) <= FLOAT_MAX:
        raise ValueError(f"takes sizes from {FLOAT_MIN:g} to {FLOAT_MAX:g}, got {value!r}")
    return value


def _no_missing_value(name: str) -> str:
    if name in ("nan", "null"):
        raise ValueError(f"{name!r} reads as a missing value in tables; take another name")
    return name


def _label(value: Any) -> Any:
    """A setting as names of files and tables have it: floats by six digits."""
    return f"{value:g}" if isinstance(value, float) else value


def _distinct(values: list) -> list:
    if len({*map(_label, values)}) < len(values):
        raise ValueError(f"every value may appear only once, numbers by six digits, got {shown(values)}")
    return values


def _ascending(values: list[int]) -> list[int]:
    if values != sorted(set(values)):
        raise ValueError(f"takes numbers in ascending order, each once, got {shown(values)}")
    return values


def _selects_some(split: str) -> str:
    bounds = re.search(r"\[(-?\d+):(-?\d+)\]$", split)
    start, stop = map(int, bounds.groups()) if bounds else (0, 1)
    if (start < 0) == (stop < 0) and start >= stop:
        raise ValueError(f"{split!r} selects nothing; a slice is [start:stop] with start before stop")
    return split


Count = Annotated[int, Field(ge=1, le=INT_MAX)]
Natural = Annotated[int, Field(ge=0, le=INT_MAX)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), AfterValidator(_computable)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), AfterValidator(_computable)]
BelowOne = Annotated[NonNegative, Field(lt=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64), AfterValidator(_no_missing_value)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
Split = Annotated[
    str, Field(pattern=r"^[\w .-]+(\[-?[0-9]*:-?[0-9]*\])?$", max_length=64), AfterValidator(_selects_some)
]


class Section(BaseModel):
    """The base of all sections; one that the package has a dataclass for takes its fields from that."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def keys_are_known(cls, value: Any) -> Any:
        for key in value if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                context = {"key": key, "known": ", ".join(cls.model_fields)}
                raise PydanticCustomError("unknown", "unknown key; known: {known}", context)
        return value


# ------------------------------------------------------------------------------------------------- data and concepts


class Dataset(Section, locate.Definition):
    kind: Annotated[str, AfterValidator(readers.known)]
    root: Text | None = None
    train: Split = "train"
    test: Split | None = None
    classes: Annotated[list[Text], Field(min_length=2), AfterValidator(_distinct)] | None = None
    resolution: Annotated[int, Field(ge=1, le=SIZE_MAX)] | None = None
    synsets: Annotated[dict[Text, Text], Field(validate_default=True)] = {}  # or a name of hrrl.data.synsets

    @field_validator("synsets", mode="before")
    @classmethod
    def synsets_are_there_and_of_its_classes(cls, value: Any, info: ValidationInfo) -> Any:
        kind, classes = info.data.get("kind", ""), info.data.get("classes")
        if isinstance(value, str):
            if value not in synsets.SHIPPED:
                shipped = ", ".join(synsets.SHIPPED)
                raise ValueError(f"takes a synset for each class, or one of {shipped}; got {shown(value)}")
        elif isinstance(value, dict) and all(isinstance(synset, str) for synset in value.values()):
            if unknown := [name for name in value if name not in (classes or value)]:
                raise ValueError(f"{unknown[0]!r} is none of its classes: {', '.join(classes or ())}")
        else:
            return value  # which the field's type refuses
        return synsets.of_classes(kind, value, classes)


class NamedSynset(Section):
    name: Annotated[Name, AfterValidator(concepts.usable_name)]
    synset: Text


class ConceptFile(Section):
    csv: Text


class AutomaticConcepts(Section):
    auto: Annotated[int, Field(ge=2, le=1000)]


def _names_differ(named_concepts: list) -> list:
    _distinct([concept.name for concept in named_concepts])
    return named_concepts


def _one_message(forms: str) -> WrapValidator:
    """One message about the form that the value has, where pydantic has one for each form that it could have."""

    def validate(value: Any, handler: Callable[[Any], Any]) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            problems = error.errors()
            nested = [e for e in problems if len(e["loc"]) > 1 and e["type"] not in ("missing", "unknown")]
            for problem in (*nested, *(e for e in problems if e["type"] == "value_error")):
                raise ValueError("".join(f"{part}: " for part in problem["loc"][1:]) + _message(problem)) from None
            raise ValueError(f"takes {forms}, got {shown(value)}") from None

    return WrapValidator(validate)


Concepts = Annotated[
    Literal["table1"]
    | Annotated[list[NamedSynset], Field(min_length=1), AfterValidator(_names_differ)]
    | ConceptFile
    | AutomaticConcepts,
    _one_message("table1, a list of {name, synset}, {csv: path} or {auto: number of concepts, two or more}"),
]


# ------------------------------------------------------------------------------------------------- the two axes


def _sum_is_one(shares: dict) -> dict:
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"takes shares whose sum is 1, got {shown(shares)}")
    return shares


Reference = Annotated[
    Literal["empirical", "uniform"]
    | Annotated[str, Field(pattern=r"^target:[a-z0-9_]+$")]
    | Annotated[dict[str, NonNegative], AfterValidator(_sum_is_one)],
    _one_message("empirical, uniform, target:<name> or one share for each concept"),
]


def _or(pattern: str, number: Any) -> Any:
    """A number, or a text of this pattern in its place; any other value is validated as a number."""
    union: Any = Annotated[number, Tag("")] | Annotated[str, Tag("words")]
    return Annotated[union, Discriminator(lambda value: "words" if re.fullmatch(pattern, str(value)) else "")]


if TYPE_CHECKING:
    SlowStart = float | str
else:
    SlowStart = _or(search.PER_LAM.pattern, Positive)  # c, or "10/lam"


def _point(axis: str, name: str) -> type[Section]:
    """The settings of a point of an axis, from the annotated arguments of its class (hrrl/methods/)."""
    fields: dict[str, Any] = {}
    for argument in methods.arguments(axis, name):
        default = ... if argument.default is argument.empty else argument.default
        fields[argument.name] = (_accepted(argument.annotation), default)
        if search.SETTINGS[axis] == (name, argument.name):
            fields[argument.name] = (_or(search.SEARCHED, fields[argument.name][0]), default)
        if name == search.SETTINGS["concept"][0] and argument.name == "c":
            fields["c"] = (SlowStart, default)
        if Shares in (argument.annotation, *get_args(argument.annotation)):
            fields[argument.name] = (Reference, "empirical")
    return create_model(name, __base__=Section, __doc__=methods.find(axis, name).__doc__, **fields)


def _accepted(annotation: Any) -> Any:
    """An annotation of hrrl.methods.constraints as pydantic reads it."""
    if get_origin(annotation) in (UnionType, Union):
        return Union[*map(_accepted, get_args(annotation))]
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, bound = get_args(annotation)
    if kind is not float:
        return Annotated[kind, Field(gt=bound.gt, ge=bound.ge, le=INT_MAX if bound.le is None else bound.le)]
    limits = Field(gt=bound.gt, ge=bound.ge, le=bound.le, allow_inf_nan=False)
    return Annotated[kind, limits, AfterValidator(_computable)]


def _axis(axis: str) -> type[Section]:
    points: dict[str, Any] = {name: (_point(axis, name) | None, None) for name in methods.names(axis)}
    return create_model(f"{axis.capitalize()}Axis", __base__=Section, **points)


if TYPE_CHECKING:
    ExampleAxis = Section
    ConceptAxis = Section
else:
    ExampleAxis, ConceptAxis = map(_axis, methods.AXES)


# ------------------------------------------------------------------------------------------------- variants


Channels = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]


class Weights(Section, weights.Init):
    file: Text | None = None
    weights: Text | None = None
    hub: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?@[\w./-]+$")] | None = None
    model: Text | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    classes: Text | Annotated[list[Text], Field(min_length=2), AfterValidator(_distinct)] | None = None
    mean: Channels | None = None
    std: Channels | None = None

    @model_validator(mode="after")
    def one_place(self) -> Self:
        if sum(place is not None for place in (self.file, self.weights, self.hub, self.model)) != 1:
            raise ValueError("takes exactly one of file, weights, hub and model")
        return self


Init = Annotated[Literal["none"] | Weights, _one_message("none, or weights: {file: path, sha256: ...} and the like")]


class Variant(Section):
    example: ExampleAxis | None = None
    concept: ConceptAxis | None = None
    epochs: Natural | None = None  # these two override pretrain's; 0: no training
    init: Init | None = None

    @model_validator(mode="after")
    def is_one_point_per_axis(self) -> Self:
        if self.epochs == 0 and (self.example or self.concept):
            raise ValueError("epochs: 0 takes no training, and so no method; leave example and concept out")
        for name, axis in (("example", self.example), ("concept", self.concept)):
            if axis is not None and len(axis.model_dump(exclude_none=True)) != 1:
                known = ", ".join(type(axis).model_fields)
                raise ValueError(f"{name} takes exactly one of {known}, with its settings or {{}}")
        settings = (self.spec()["concept"] or {}).get("hrrl", {})
        if isinstance(settings.get("c"), str) and settings["lam"] != search.SEARCHED:
            raise ValueError(f"concept.hrrl.c: {settings['c']} takes lam: searched; give a number with a number")
        return self

    def spec(self) -> dict:
        """{"example": {"gradient": {"tau": ...}} or None, "concept": ... or None}, defaults filled in."""
        axes = {"example": self.example, "concept": self.concept}
        return {axis: point and point.model_dump(exclude_none=True) for axis, point in axes.items()}


# ------------------------------------------------------------------------------------------------- the stages


class Runs(Section):
    pretrain: list[str] = Field(min_length=1)
    given: list[str]  # those of them that do not wait for the search, and
    searched: list[str]  # those that may leave tau or lam to it
    svm: list[str] = Field(min_length=1)
    finetune: list[str] = Field(min_length=1)


Area = Annotated[float, Field(gt=0, le=1, strict=True, allow_inf_nan=False)]


class Augment(Section, augment.Augment):
    padding: Annotated[int, Field(ge=0, le=SIZE_MAX)] | None = None
    scale: tuple[Area, Area] | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def crop_has_its_setting(self) -> Self:
        for crop, key in (("padded", "padding"), ("random_resized", "scale")):
            if (self.crop == crop) != (getattr(self, key) is not None):
                raise ValueError(f"crop: {crop} takes {key}, and no other crop does")
        if self.scale and self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: takes the least area and then the greatest, got {list(self.scale)}")
        return self


class Recipe(Section, recipes.Recipe):
    batch_size: Count
    lr: Positive
    warmup: Natural | None = None
    label_smoothing: BelowOne | None = None
    ema: Annotated[Positive, Field(lt=1)] | None = None
    milestones: Annotated[list[Count], AfterValidator(_ascending)]
    weight_decay: NonNegative
    momentum: BelowOne | None = None
    augment: Augment

    @model_validator(mode="after")
    def recipe_fits_together(self) -> Self:
        if (self.optimizer == "adamw") != (self.momentum is None):
            raise ValueError("momentum: sgd takes it, and adamw does not")
        if self.schedule == "cosine" and self.milestones:
            raise ValueError("milestones: takes [] with schedule: cosine")
        return self


def _plain(value: Any) -> Any:
    """Accepts what both YAML and JSON can hold."""
    if isinstance(value, dict | list):
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _plain(item)
    elif isinstance(value, float):
        _computable(value)
    elif not isinstance(value, str | None) and not (isinstance(value, int) and abs(value) <= INT_MAX):
        raise ValueError(f"takes numbers, texts, true, false, null and lists of them, got {shown(value)}")
    return value


def _without_weights(args: dict) -> dict:
    if weight_keys := [key for key in args if key in WEIGHTS and args[key]]:
        raise ValueError(f"{weight_keys[0]}: weights to start from stand in pretrain.init; leave it out")
    return args


class Pretrain(Recipe, recipes.Schedule):
    epochs: Count
    init: Init | None = None
    backbone: Annotated[str, Field(pattern=r"^(timm/)?[A-Za-z0-9_.]+$", max_length=100)]
    backbone_args: Annotated[dict[Text, object], AfterValidator(_plain), AfterValidator(_without_weights)]
    image_size: Annotated[int, Field(ge=8, le=SIZE_MAX)]


class Finetune(Recipe, fixed_step_batches.FixedStepSchedule):
    epochs: Count | None = None
    steps: Count | None = None
    eval_every: Count | None = None

    @model_validator(mode="after")
    def one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None) or (self.steps and not self.eval_every):
            raise ValueError("takes epochs, or steps together with eval_every, and not both")
        every, length = self.eval_every or 1, self.steps or self.epochs or 1
        if not_multiples := [n for n in (length, *self.milestones) if n % every]:
            unit = "steps" if self.steps else "epochs"
            raise ValueError(f"{unit} and milestones are multiples of eval_every = {every}, got {not_multiples[0]}")
        return self


class Compute(Section, runtime.Compute):
    threads: Annotated[int, Field(ge=1, le=1024)]

    @model_validator(mode="after")
    def portable_is_what_all_cpus_share(self) -> Self:
        if self.arithmetic == "portable":
            if self.device == "cuda":
                raise ValueError("device: portable arithmetic is the CPU's; takes auto or cpu, or arithmetic: native")
            for key, value in (("precision", "float32"), ("threads", 1), ("compile", False)):
                if (got := getattr(self, key)) != value:
                    raise ValueError(f"{key}: takes {value} with portable arithmetic, got {got}; or arithmetic: native")
        return self


class Launch(Section, launch.Launch):
    nproc: Annotated[int, Field(ge=1, le=256)]
    nnodes: Annotated[int, Field(ge=1, le=4096)]


def _checked_point(name: str) -> str:
    for number in search.parse(name):
        _computable(number or 0.0)
    return name


class Svm(Section):
    C: Annotated[list[Positive], Field(min_length=1), AfterValidator(_distinct)]
    folds: Annotated[int, Field(ge=2, le=1000)]  # of a target's training part, which choose C
    shots: dict[str, Count]  # target -> images of each class that are drawn from its training part; else all
    draws: Count  # of a target with shots: scores are means over them
    max_iter: Count


# endpoint of a claim -> the runs that are measured for it
MEASURED_RUNS = {"svm": "svm", "finetune": "finetune", "augmented": "pretrain", "worst_concept": "pretrain"}


class Claim(Section):
    """What the run is to decide, stated before it: ``better`` against ``than`` (docs/evidence.md)."""

    name: Name
    source: Text  # where it is claimed, e.g. "Table 2"
    better: str
    than: Annotated[
        str | Annotated[list[str], Field(min_length=2)], _one_message("a variant, or a list of two and more")
    ]  # a list: each of them
    relation: Literal["better", "no_worse", "similar"] = "better"
    margin: Positive | None = None  # in points: how much worse is no worse, how different is similar
    endpoint: Literal["svm", "finetune", "augmented", "worst_concept"]
    target: str | None = None  # of svm and finetune: the primary endpoint; on the other targets it is secondary

    @model_validator(mode="after")
    def has_what_its_endpoint_and_relation_take(self) -> Self:
        if (self.target is None) == (self.endpoint in ("svm", "finetune")):
            raise ValueError(f"{self.name}: endpoints svm and finetune take a target, and no other does")
        if isinstance(self.than, list) and ("relation" not in self.model_fields_set or self.relation == "similar"):
            raise ValueError(f"{self.name}: a list takes relation better (than each) or no_worse (than any of them)")
        if (self.margin is None) == (self.relation != "better"):
            raise ValueError(f"{self.name}: relations no_worse and similar take a margin in points, and better none")
        return self

    @property
    def others(self) -> list[str]:
        return [self.than] if isinstance(self.than, str) else self.than


class Trend(Section):
    """A claim about the points of the search: the stronger the method, the more of the endpoint (Figs. 4 and 5)."""

    name: Name
    source: Text
    trend: Literal["tau", "lam"]  # along tau upwards, or lam downwards, from ERM on
    endpoint: Literal["augmented", "worst_concept"]


def _claim_or_trend(value: Any) -> str:
    return TREND if isinstance(value, Trend) or (isinstance(value, dict) and "trend" in value) else ""


TREND = "[trend]"  # a tag in an error's location, and no key
ClaimOrTrend = Annotated[Annotated[Claim, Tag("")] | Annotated[Trend, Tag(TREND)], Discriminator(_claim_or_trend)]


class Search(Section):
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]  # that the results do not use
    points: list[Annotated[str, AfterValidator(_checked_point)]] = Field(min_length=1)
    c: SlowStart  # of the points with a concept axis
    s: Natural


class Robustness(Section):
    steps: Annotated[list[NonNegative], Field(min_length=1), AfterValidator(_distinct)]


class Theory(Section):
    mu: Annotated[list[Positive], Field(min_length=1), AfterValidator(_distinct)]
    s_max: Annotated[int, Field(ge=10, le=INT_MAX)]
    batches: Count


Use = tuple[str, Collection[str], Collection[str]]  # a key, the names that it uses, the names that are defined


class Params(Section):
    """params.yaml as a whole."""

    name: Name
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
    benchmark: str
    targets: list[str] = Field(min_length=1)
    shifts: dict[str, Literal["none", "images", "concepts", "both"]]  # what differs from the benchmark, per target
    claims: list[ClaimOrTrend]
    headline: str
    datasets: dict[Name, Dataset]
    concepts: Concepts
    variants: dict[Name, Variant]
    runs: Runs
    pretrain: Pretrain
    compute: Compute
    launch: Launch
    search: Search
    svm: Svm
    finetune: Finetune
    robustness: Robustness
    theory: Theory

    @model_validator(mode="after")
    def sections_fit_together(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """What does not fit between sections; later checks rely on earlier ones having passed."""
        for problems in (self._misnamed, self._unsearched, self._misplaced, self._unscheduled):
            yield from problems()

    def _misnamed(self) -> Iterator[str]:
        """Names that are undefined, missing or repeated."""
        for key, names, defined in self._uses():
            for name in names:
                if name not in defined:
                    yield f"{key}: {shown(name)} is not defined; known: {', '.join(defined)}"
            if len(set(names)) < len(names):
                yield f"{key}: every name may appear only once, got {', '.join(names)}"
        for target in (target for target in self.targets if target not in self.shifts):
            yield f"shifts: {target!r} is missing; every target takes none, images, concepts or both"

    def _unsearched(self) -> Iterator[str]:
        """Points and seeds of the search that do not fit, and variants and trends that need points it does not have."""
        for seed in sorted({*self.seeds} & {*self.search.seeds}):
            yield f"search.seeds: {seed} is one of seeds; tuning takes seeds that results do not use"
        points = [search.parse(name) for name in self.search.points]
        if len({tuple(map(_label, point)) for point in points}) < len(points):
            listed = ", ".join(self.search.points)
            yield f"search.points: every point may appear only once, numbers by six digits, got {listed}"
        for name, variant in self.variants.items():
            try:
                if asked := search.wanted(variant.spec()):
                    search.candidates(asked, points)
            except UserError as error:
                yield f"variants.{name}: {error}"
        for claim in (claim for claim in self.claims if isinstance(claim, Trend)):
            on_axis = [p for p in points if p[1 if claim.trend == "tau" else 0] is None]  # the other axis is off
            if len(on_axis) < 3 or (None, None) not in on_axis:
                yield f"claims.{claim.name}: takes erm and two or more {claim.trend} in search.points"

    def _misplaced(self) -> Iterator[str]:
        """Runs in none or both of runs.given and runs.searched, or in the wrong one."""
        for name in self.runs.pretrain:
            if (name in self.runs.given) == (name in self.runs.searched):
                yield f"runs: {name!r} takes a place in one of given and searched"
            if name in self.runs.given and search.wanted(self.variants[name].spec()):
                yield f"runs.given: {name!r} leaves tau or lam to the search; name it in runs.searched"

    def _unscheduled(self) -> Iterator[str]:
        """Batches, paddings and warm-ups that do not fit."""
        processes = self.launch.nproc * self.launch.nnodes
        for section, schedule in (("pretrain", self.pretrain), ("finetune", self.finetune)):
            if schedule.batch_size < processes:
                yield f"{section}.batch_size: takes {processes} or more, an image for each process"
            if (schedule.augment.padding or 0) > self.pretrain.image_size:
                yield f"{section}.augment.padding: takes at most pretrain.image_size"
        lengths: list[tuple[str, Recipe, int | None]] = [("pretrain", self.pretrain, self.pretrain.epochs)]
        lengths += [("finetune", self.finetune, self.finetune.steps or self.finetune.epochs)]
        lengths += [(f"variants.{name}", self.pretrain, variant.epochs) for name, variant in self.variants.items()]
        for section, recipe, length in lengths:
            if length and (recipe.warmup or 0) >= length:
                yield f"{section}: a warmup of {recipe.warmup} takes all of a run of {length}, which never is at lr"

    def _uses(self) -> Iterator[Use]:
        """Keys, the names that they use, and those that are defined."""
        yield from (("benchmark", [self.benchmark], self.datasets), ("targets", self.targets, self.datasets))
        yield "runs.pretrain", self.runs.pretrain, self.variants
        yield from ((f"runs.{step}", names, self.runs.pretrain) for step, names in self.runs)
        yield from (("headline", [self.headline], self.runs.svm), ("svm.shots", self.svm.shots, self.targets))
        yield from self._references()
        yield "shifts", list(self.shifts), self.targets
        for claim in (claim for claim in self.claims if isinstance(claim, Claim)):
            runs = getattr(self.runs, MEASURED_RUNS[claim.endpoint])
            yield f"claims.{claim.name}", [claim.better, *claim.others], runs
            yield f"claims.{claim.name}.target", [claim.target] if claim.target else [], self.targets
        claim_names = [claim.name for claim in self.claims]
        yield "claims", claim_names, claim_names

    def _references(self) -> Iterator[Use]:
        """Keys of reference distributions q0, each with its target or with the concepts that it gives shares for."""
        concept_names = self._concept_names()
        for variant, point in self.variants.items():
            for method, settings in (point.spec()["concept"] or {}).items():
                for key, value in settings.items():
                    path = f"variants.{variant}.concept.{method}.{key}"
                    if str(value).startswith("target:"):
                        yield path, [value.removeprefix("target:")], self.targets
                    elif isinstance(value, dict) and concept_names:
                        yield path, list(value), concept_names

    def _concept_names(self) -> list[str]:
        """The concepts' names; empty where only a file or the benchmark's classes tell them."""
        if self.concepts == "table1":
            return list(concepts.CONCEPTS)
        return [*(c.name for c in self.concepts), concepts.OTHERS] if isinstance(self.concepts, list) else []

    def training(self, name: str) -> tuple[int, str, Weights | None]:
        """Epochs of a variant (of the search: ""), the key of its initial weights, and these weights, if any."""
        variant = self.variants[name] if name else Variant()
        epochs = self.pretrain.epochs if variant.epochs is None else variant.epochs
        key, init = f"variants.{name}.init", variant.init
        if init is None:
            key, init = "pretrain.init", self.pretrain.init
        return epochs, key, init if isinstance(init, Weights) else None

    def starts(self) -> dict[str, dict[str, Any]]:
        """Variants that start from weights, and the search as "": key, init, epochs, whether q starts fast."""
        starts, lams = {}, [lam for _, lam in map(search.parse, self.search.points) if lam] or [1.0]
        for name in (*self.runs.pretrain, ""):
            epochs, key, init = self.training(name)
            concept = self.variants[name].spec()["concept"] or {} if name else {"hrrl": self.search.model_dump()}
            hrrl = concept.get("hrrl", {"c": 2, "s": 1})  # without q, a slow start
            if init:
                fast = min(search.slow_start(hrrl["c"], lam) for lam in lams) <= 1 or not hrrl["s"]
                starts[name] = {"key": key, "init": init.model_dump(), "epochs": epochs, "fast": fast}
        return starts

    def as_dict(self) -> dict[str, Any]:
        """Plain Python values, with the defaults filled in."""
        return self.model_dump(mode="json")


def load(path: str | Path = "params.yaml") -> Params:
    """Reads and validates a params file (YAML 1.2, as DVC reads it).

    Raises:
        UserError: one line per problem, with the offending key's path and what it takes.
    """
    content = params_file.read(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise UserError(*(_problem(path, e) for e in error.errors())) from None


def _problem(path: str | Path, error: ErrorDetails) -> str:
    """One line: file, dotted key, what is wrong or expected, what was found."""
    location = [*error["loc"], error["ctx"]["key"]] if error["type"] == "unknown" else error["loc"]
    key = params_file.cut(".".join(str(part) for part in location if part not in ("", "[key]", TREND)))
    return f"{path}: {key + ': ' if key else ''}{_message(error)}"


def _message(error: ErrorDetails) -> str:
    """What is wrong or expected, and what was found."""
    message, complete = error["msg"].removeprefix("Value error, "), ("missing", "value_error", "unknown")
    return message if error["type"] in complete else f"{message}, got {shown(error['input'])}"
