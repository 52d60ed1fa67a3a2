"""The typed schema of params.yaml. Every key that the pipeline reads is defined here, and no other is accepted.

It only checks: stages read params.yaml itself, or what the stage ``resolve`` made of it, so that a new key, method or
dataset kind makes no result outdated.
"""

import json
import sys
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    WrapValidator,
    create_model,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from hrrl import methods, search
from hrrl.bounds import Shares
from hrrl.datasets import kinds
from hrrl.errors import UserError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Split = Annotated[str, Field(pattern=r"^\w+(\[-?\d*:-?\d*\])?$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# ------------------------------------------------------------------------------------------------- data and concepts


class Dataset(Section):
    kind: Annotated[str, AfterValidator(kinds.known)]
    root: str | None = None  # folder (imagefolder: or zip); None: known places, then download
    train: Split = "train"  # a published split, with an optional slice per class: "train[:1500]"
    test: Split | None = None  # the held-out part; None: the published one
    classes: list[str] | None = Field(default=None, min_length=2)
    resolution: Count | None = None
    synsets: dict[str, str] = {}
    skip_unreadable: bool = False


class NamedSynset(Section):
    name: Name
    synset: str


class ConceptFile(Section):
    csv: str


class AutomaticConcepts(Section):
    auto: Count


def _one_message(value, validate):
    """One message instead of one for each form that the setting could have had."""
    try:
        return validate(value)
    except ValidationError:
        forms = "table1, a list of {name, synset}, {csv: path} or {auto: number of concepts}"
        raise ValueError(f"takes {forms}, got {value!r}") from None


Concepts = Annotated[
    Literal["table1"] | list[NamedSynset] | ConceptFile | AutomaticConcepts, WrapValidator(_one_message)
]


# ------------------------------------------------------------------------------------------------- the two axes


Reference = Literal["empirical", "uniform"] | Annotated[str, Field(pattern=r"^target:\w+$")] | dict[str, NonNegative]


def _point(axis: str, name: str) -> type[Section]:
    """The settings of a point of an axis, from the annotated arguments of its class (hrrl/methods/)."""
    fields = {}
    for argument in methods.arguments(axis, name):
        default = ... if argument.default is argument.empty else argument.default
        fields[argument.name] = (_accepted(argument.annotation), default)
        if search.SETTINGS[axis] == (name, argument.name):
            fields[argument.name] = (_or_searched(fields[argument.name][0]), default)
        if Shares in (argument.annotation, *get_args(argument.annotation)):
            fields[argument.name] = (Reference, "empirical")
    return create_model(name, __base__=Section, __doc__=methods.find(axis, name).__doc__, **fields)


def _or_searched(number):
    """A number, or the word that leaves it to the search; what else there is is judged as a number."""
    kinds = Annotated[number, Tag("")] | Annotated[Literal["searched"], Tag(search.SEARCHED)]
    return Annotated[kinds, Discriminator(lambda value: search.SEARCHED if value == search.SEARCHED else "")]


def _accepted(annotation):
    """An annotation of hrrl.bounds as pydantic reads it."""
    if get_origin(annotation) is UnionType or get_origin(annotation) is Union:
        return Union[*map(_accepted, get_args(annotation))]
    if get_origin(annotation) is not Annotated:
        return annotation
    kind, bound = get_args(annotation)
    finite = {"allow_inf_nan": False} if kind is float else {}
    return Annotated[kind, Field(gt=bound.gt, ge=bound.ge, le=bound.le, **finite)]


def _axis(axis: str) -> type[Section]:
    points = {name: (_point(axis, name) | None, None) for name in methods.names(axis)}
    return create_model(f"{axis.capitalize()}Axis", __base__=Section, **points)


ExampleAxis, ConceptAxis = map(_axis, methods.AXES)


class Variant(Section):
    example: ExampleAxis | None = None
    concept: ConceptAxis | None = None

    @model_validator(mode="after")
    def one_point_per_axis(self):
        for name, axis in (("example", self.example), ("concept", self.concept)):
            if axis is not None and len(axis.model_dump(exclude_none=True)) != 1:
                raise ValueError(f"{name} takes exactly one of {', '.join(type(axis).model_fields)}")
        return self

    def spec(self) -> dict:
        """{"example": {"gradient": {"tau": ...}} or None, "concept": ... or None}, defaults filled in."""
        return {
            axis: None if point is None else point.model_dump(exclude_none=True)
            for axis, point in (("example", self.example), ("concept", self.concept))
        }


# ------------------------------------------------------------------------------------------------- the stages


class Runs(Section):
    pretrain: list[str] = Field(min_length=1)
    svm: list[str] = Field(min_length=1)
    finetune: list[str] = Field(min_length=1)


class Augment(Section):
    """No setting has a default here or below: a cell depends on what params.yaml says, and it says everything."""

    crop: Literal["random_resized", "padded", "none"]
    padding: Natural | None = None  # of "padded", in pixels at the network's size
    scale: tuple[Positive, Positive] | None = Field(default=None, strict=False)  # of "random_resized": area
    flip: bool

    @model_validator(mode="after")
    def crop_has_its_setting(self):
        for crop, key in (("padded", "padding"), ("random_resized", "scale")):
            if (self.crop == crop) != (getattr(self, key) is not None):
                raise ValueError(f"crop: {crop} takes {key}, and no other crop does")
        return self


class Schedule(Section):
    batch_size: Count  # in total over the processes
    lr: Positive
    milestones: list[Count]  # after which the learning rate is divided by 10, in the unit of the run's length
    weight_decay: NonNegative
    momentum: Annotated[float, Field(ge=0, lt=1)]
    augment: Augment


class Pretrain(Schedule):
    epochs: Count
    backbone: str
    backbone_args: dict
    image_size: Annotated[int, Field(ge=8)]


class Finetune(Schedule):
    epochs: Count | None = None  # each evaluated; or
    steps: Count | None = None  # the same for every target, however many images it has
    every: Count | None = None  # steps from one evaluation to the next

    @model_validator(mode="after")
    def one_length(self):
        if (self.epochs is None) == (self.steps is None) or (self.steps is None) != (self.every is None):
            raise ValueError("takes epochs, or steps together with every, and not both")
        if self.steps and (wrong := [n for n in (self.steps, *self.milestones) if n % self.every]):
            raise ValueError(f"steps and milestones are multiples of every = {self.every}, got {wrong[0]}")
        return self


class Compute(Section):
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16", "float16"]
    channels_last: bool
    compile: bool
    sync_batchnorm: bool
    fast: bool  # hrrl/fast: the same functions up to rounding, faster
    threads: Count  # of one process, on the CPU
    workers: Natural  # that decode images of more than 64 pixels; changes no result


class Launch(Section):
    nproc: Count
    nnodes: Count
    # where the others are, which changes no result
    node_rank: Natural = 0
    master_addr: str = "127.0.0.1"
    master_port: Natural = 29500


def _checked_point(name: str) -> str:
    search.parse(name)
    return name


class Svm(Section):
    C: list[Positive] = Field(min_length=1)
    folds: Annotated[int, Field(ge=2)]  # of a target's training part, which choose C
    shots: dict[str, Count]  # target -> images of each class that are drawn from its training part; else all
    draws: Count  # of a target with shots: scores are means over them
    max_iter: Count


# endpoint of a claim -> the runs that are measured for it
MEASURED_RUNS = {"svm": "svm", "finetune": "finetune", "augmented": "pretrain", "concept_gap": "pretrain"}


class Claim(Section):
    """What the run is to decide, named before it: ``better`` against ``than`` (docs/evidence.md)."""

    name: Name
    source: Annotated[str, Field(min_length=1)]  # where it is claimed, e.g. "Table 2"
    better: str
    than: str | Annotated[list[str], Field(min_length=2)]  # a list: the best of them, less the noise
    endpoint: Literal["svm", "finetune", "augmented", "concept_gap"]
    target: str | None = None  # of svm and finetune: the primary endpoint; on the other targets it is secondary

    @model_validator(mode="after")
    def target_where_there_is_one(self):
        if (self.target is None) == (self.endpoint in ("svm", "finetune")):
            raise ValueError(f"{self.name}: endpoints svm and finetune take a target, and no other does")
        return self

    @property
    def others(self) -> list[str]:
        return [self.than] if isinstance(self.than, str) else self.than


class Search(Section):
    seeds: list[Natural] = Field(min_length=1)  # that the results do not use
    points: list[Annotated[str, AfterValidator(_checked_point)]] = Field(min_length=1)
    c: Positive  # the slow start of the points with a concept axis
    s: Natural


class Robustness(Section):
    steps: list[NonNegative] = Field(min_length=1)


class Theory(Section):
    mu: list[Positive] = Field(min_length=1)
    s_max: Annotated[int, Field(ge=10)]
    batches: Count


class Params(Section):
    """params.yaml as a whole."""

    name: Name
    seeds: list[Natural] = Field(min_length=1)
    benchmark: str
    targets: list[str] = Field(min_length=1)
    shifts: dict[str, Literal["none", "images", "concepts", "both"]]  # what differs from the benchmark, per target
    claims: list[Claim]
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
    def names_are_defined(self):
        uses = [("benchmark", [self.benchmark], self.datasets), ("targets", self.targets, self.datasets)]
        uses += [(f"runs.{step}", names, self.variants) for step, names in self.runs]
        uses += [("headline", [self.headline], self.runs.svm), ("svm.shots", self.svm.shots, self.targets)]
        uses += [(f"runs.{step}", names, self.runs.pretrain) for step, names in self.runs]
        uses += [(key, [target], self.targets) for key, target in self._references()]
        uses += [("shifts", list(self.shifts), self.targets)]
        uses += [use for claim in self.claims for use in self._uses(claim)]
        for key, names, defined in uses:
            for name in names:
                if name not in defined:
                    raise ValueError(f"{key}: {name!r} is not defined; known: {', '.join(defined)}")
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: every name may appear only once, got {', '.join(names)}")
        for key, several in (("seeds", self.seeds), ("search.seeds", self.search.seeds)):
            if len(set(several)) < len(several):
                raise ValueError(f"{key}: every seed may appear only once, got {several}")
        if common := set(self.seeds) & set(self.search.seeds):
            raise ValueError(f"search.seeds: {min(common)} is one of seeds; tuning takes seeds that results do not use")
        points = [search.parse(name) for name in self.search.points]
        if len(set(points)) < len(points):
            raise ValueError(f"search.points: every point may appear only once, got {', '.join(self.search.points)}")
        for name, variant in self.variants.items():
            try:
                if asked := search.wanted(variant.spec()):
                    search.candidates(asked, points)
            except UserError as error:
                raise ValueError(f"variants.{name}: {error}") from None
        if missing := [target for target in self.targets if target not in self.shifts]:
            raise ValueError(f"shifts: {missing[0]!r} is missing; every target takes none, images, concepts or both")
        names = [claim.name for claim in self.claims]
        if len(set(names)) < len(names):
            raise ValueError(f"claims: every name may appear only once, got {', '.join(names)}")
        return self

    def _uses(self, claim: Claim):
        """Key, names used, names defined: of one claim."""
        runs = MEASURED_RUNS[claim.endpoint]
        yield f"claims.{claim.name}", [claim.better, *claim.others], getattr(self.runs, runs)
        yield f"claims.{claim.name}.target", [claim.target] if claim.target else [], self.targets

    def _references(self):
        """Keys whose value is the concept distribution of a target, with that target."""
        for variant, point in ((v, p) for v, p in self.variants.items() if p.spec()["concept"]):
            [(method, settings)] = point.spec()["concept"].items()
            for key, value in settings.items():
                if str(value).startswith("target:"):
                    yield f"variants.{variant}.concept.{method}.{key}", value.removeprefix("target:")

    @property
    def baseline(self) -> str:
        """The variant that others are compared with: the first that is evaluated."""
        return self.runs.svm[0]

    def as_dict(self) -> dict:
        """Plain Python values, with the defaults filled in."""
        return json.loads(self.model_dump_json())


def load(path="params.yaml") -> Params:
    """Reads and validates a params file (YAML 1.2, as DVC reads it).

    Raises:
        UserError: one line per problem, with the offending key's path and what it takes.
    """
    path = Path(path)
    try:
        content = YAML(typ="safe").load(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; copy one of presets/*.yaml to it") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}: not YAML, {error.problem} in line {line}") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise UserError(*(_problem(path, e) for e in error.errors())) from None


def _problem(path, error: dict) -> str:
    """One line: file, dotted key, what is wrong or expected, what was found."""
    key = ".".join(str(part) for part in error["loc"] if part != "")
    if error["type"] == "extra_forbidden":
        return f"{path}: {key}: unknown key; {_known_keys(error['loc'])}"
    message = error["msg"].removeprefix("Value error, ")
    found = "" if error["type"] in ("missing", "value_error") else f", got {error['input']!r}"
    return f"{path}: {key + ': ' if key else ''}{message}{found}"


def _known_keys(loc: tuple) -> str:
    """The keys that the section which holds the unknown key does take."""
    model = Params
    for part in loc[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        candidates = [field.annotation] if field else list(getattr(model, "__args__", ()))
        model = _section_in(candidates) or model
    return f"known: {', '.join(model.model_fields)}" if hasattr(model, "model_fields") else "see presets/quick.yaml"


def _section_in(annotations):
    """The first section, or container of sections, among type annotations such as ``Gradient | None``."""
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
        found = _section_in(getattr(annotation, "__args__", ()))
        if found:
            return found
    return None


if __name__ == "__main__":
    try:
        load(*sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
