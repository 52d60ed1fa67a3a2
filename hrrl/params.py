"""The typed schema of params.yaml. Every key that the pipeline reads is defined here, and no other is accepted."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from hrrl.errors import UserError

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Split = Annotated[str, Field(pattern=r"^\w+(\[-?\d*:-?\d*\])?$")]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# ------------------------------------------------------------------------------------------------- data and concepts


class Dataset(Section):
    kind: Literal["imagenet", "imagefolder", "cifar10", "svhn", "fashion_mnist", "sop", "digits"]
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


class Gradient(Section):
    """The paper's perturbation (Theorem 2)."""

    tau: NonNegative


class Noise(Section):
    """The size of the perturbation without its direction."""

    tau: NonNegative


class Pgd(Section):
    """Projected gradient ascent in an L2 ball (Madry et al. 2018)."""

    eps: NonNegative
    steps: Count = 3
    step_size: Positive | None = None  # None: 2/3 eps
    random_start: bool = False


class Wrm(Section):
    """Ascent with an L2 penalty (Sinha et al. 2018)."""

    gamma: Positive
    steps: Count = 15


Reference = Literal["empirical", "uniform"] | Annotated[str, Field(pattern=r"^target:\w+$")] | dict[str, NonNegative]


class Hrrl(Section):
    """The paper's distribution over concepts (Eqs. 5 and 6, Algorithm 1)."""

    lam: Positive
    c: Positive = 10.0
    s: Natural = 1000
    q0: Reference = "empirical"  # uniform, {concept: share}, or target:<name> (Section 5: that target's concepts)


class GroupDro(Section):
    """Exponentiated gradient on group losses (Sagawa et al. 2020)."""

    eta: Positive = 0.01
    adjustment: NonNegative = 0.0


class Cvar(Section):
    """The worst fraction of examples (Levy et al. 2020)."""

    alpha: Annotated[float, Field(gt=0, le=1)]


class Balanced(Section):
    """Fixed weights proportional to 1/N_k."""


class ExampleAxis(Section):
    gradient: Gradient | None = None
    pgd: Pgd | None = None
    wrm: Wrm | None = None
    noise: Noise | None = None


class ConceptAxis(Section):
    hrrl: Hrrl | None = None
    group_dro: GroupDro | None = None
    cvar: Cvar | None = None
    balanced: Balanced | None = None


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
    crop: Literal["random_resized", "padded", "none"]
    padding: Natural = 0  # of "padded", in pixels at the network's size
    scale: tuple[Positive, Positive] = Field(default=(0.08, 1.0), strict=False)  # of "random_resized": area
    flip: bool


class Schedule(Section):
    epochs: Count
    batch_size: Count  # in total over the processes
    lr: Positive
    milestones: list[Count]  # epochs after which the learning rate is divided by 10
    weight_decay: NonNegative
    momentum: Annotated[float, Field(ge=0, lt=1)]
    augment: Augment


class Pretrain(Schedule):
    backbone: str
    backbone_args: dict = {}
    image_size: Annotated[int, Field(ge=8)]


class Compute(Section):
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16", "float16"]
    channels_last: bool
    compile: bool
    sync_batchnorm: bool
    threads: Count  # of one process, on the CPU
    workers: Natural  # that decode images of more than 64 pixels


class Launch(Section):
    nproc: Count
    nnodes: Count = 1
    node_rank: Natural = 0
    master_addr: str = "127.0.0.1"
    master_port: Natural = 29500


class Svm(Section):
    C: list[Positive] = Field(min_length=1)
    validation: Share
    max_iter: Count


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
    headline: str
    datasets: dict[Name, Dataset]
    concepts: Concepts
    variants: dict[Name, Variant]
    runs: Runs
    pretrain: Pretrain
    compute: Compute
    launch: Launch
    svm: Svm
    finetune: Schedule
    robustness: Robustness
    theory: Theory

    @model_validator(mode="after")
    def names_are_defined(self):
        uses = [("benchmark", [self.benchmark], self.datasets), ("targets", self.targets, self.datasets)]
        uses += [(f"runs.{step}", names, self.variants) for step, names in self.runs]
        uses += [("headline", [self.headline], self.runs.svm)]
        uses += [(f"runs.{step}", names, self.runs.pretrain) for step, names in self.runs]
        uses += [(f"variants.{name}.concept.hrrl.q0", target, self.targets) for name, target in self._references()]
        for key, names, defined in uses:
            for name in names:
                if name not in defined:
                    raise ValueError(f"{key}: {name!r} is not defined; known: {', '.join(defined)}")
            if len(set(names)) < len(names):
                raise ValueError(f"{key}: every name may appear only once, got {', '.join(names)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: every seed may appear only once, got {self.seeds}")
        return self

    def _references(self):
        """Variants whose q0 is a target's concept distribution, with that target."""
        for name, variant in self.variants.items():
            q0 = variant.concept.hrrl.q0 if variant.concept and variant.concept.hrrl else ""
            if str(q0).startswith("target:"):
                yield name, [q0.removeprefix("target:")]

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
        raise UserError("\n".join(_problem(path, e) for e in error.errors())) from None


def _problem(path, error: dict) -> str:
    """One line: file, dotted key, what is wrong or expected, what was found."""
    key = ".".join(str(part) for part in error["loc"])
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
