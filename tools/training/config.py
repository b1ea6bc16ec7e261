"""A training run as a TOML file: one frozen dataclass tree, every key with its default here."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...calibration.errors import UserError
from ...calibration.toml_file import read_toml
from ...models.nets.denoiser import PAPER, DenoiserConfig
from ..simulation.motion import BodyVariation
from ..simulation.observe import LengthVariation, NoiseVariation, RigVariation


class ConfigError(UserError):
    """A training configuration that cannot be used."""


@dataclass(frozen=True, slots=True)
class Optimisation:
    """How it is trained.

    batch: samples per step, over all processes; learning_rate: the highest, of a cosine with `warmup` steps before;
    ema: decay of the averaged weights, which are what is kept; full_noise_share: samples at the detector's own noise,
    the rest anywhere between none and that; loss_3d, loss_root, loss_2d, loss_sigma: weights of the joint distance, the
    distance relative to the pelvis, the distance of the projections (in metres at the person) and the calibration of
    sigma; schedule: what the diffusion's noise is, ours or as published (26 steps).
    """

    steps: int = 20_000
    batch: int = 512
    learning_rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema: float = 0.999
    full_noise_share: float = 0.7
    loss_3d: float = 1.0
    loss_root: float = 0.5
    loss_2d: float = 0.0
    loss_sigma: float = 0.5
    schedule: Literal["detector", "published"] = "detector"
    precision: Literal["fp32", "bf16"] = "bf16"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """What is set after training, from real detections; see `DenoiserConfig`."""

    correction_share: float = 0.8
    sigma_scale: float = 1.3


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A whole run. preset: where `network` starts from; motion: path of the motion data, beside the config or absolute;
    benchmark: files to validate on while training (never trained on); validate_every, keep_every: steps."""

    motion: Path
    benchmark: tuple[Path, ...] = ()
    preset: Literal["own", "paper"] = "own"
    validate_every: int = 1000
    keep_every: int = 1000
    network: DenoiserConfig = field(default_factory=DenoiserConfig)
    training: Optimisation = field(default_factory=Optimisation)
    bodies: BodyVariation = field(default_factory=BodyVariation)
    rigs: RigVariation = field(default_factory=RigVariation)
    noise: NoiseVariation = field(default_factory=NoiseVariation)
    lengths: LengthVariation = field(default_factory=LengthVariation)
    release: Release = field(default_factory=Release)


def load_config(path: Path) -> TrainingConfig:
    """Read a configuration; raises ConfigError naming file and key of what is unknown, missing or of the wrong kind."""
    table = read_toml(path, ConfigError, "a training configuration")
    preset = table.get("preset", "own")
    base = {"network": PAPER} if preset == "paper" else {}
    config = _from_table(TrainingConfig, table, str(path), path.parent, base)
    _check(config, str(path))
    return config


def _check(config: TrainingConfig, where: str) -> None:
    """Raise ConfigError for values that no run can have."""
    counts = {
        "training.steps": config.training.steps, "training.batch": config.training.batch,
        "validate_every": config.validate_every, "keep_every": config.keep_every,
        "network.layers": config.network.layers, "network.heads": config.network.heads,
    }  # fmt: skip
    for name, count in counts.items():
        if count < 1:
            raise ConfigError(f"{where}: {name}: expected at least 1, found {count}")
    width, heads = config.network.width, config.network.heads
    # Half of the embedding are sines, half cosines, of more than one wavelength.
    if width < 4 or width % 2 or width % heads:
        raise ConfigError(f"{where}: network.width: expected an even multiple of {heads} heads, found {width}")
    drawn = {
        "rigs.baseline_m": config.rigs.baseline_m, "rigs.distance_m": config.rigs.distance_m,
        "noise.across_m": config.noise.across_m, "noise.depth_ratio": config.noise.depth_ratio,
        "noise.freedom": config.noise.freedom, "noise.gross_factor": config.noise.gross_factor,
        "lengths.error_m": config.lengths.error_m,
    }  # fmt: skip
    for name, (low, high) in drawn.items():
        if not 0 < low <= high:
            raise ConfigError(f"{where}: {name}: expected 0 < lower <= upper limit, found {low:g}, {high:g}")


def to_table(value: Any) -> Any:
    """The configuration as plain values, for logs and model cards."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: to_table(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_table(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _from_table(kind: type, table: dict[str, Any], where: str, folder: Path, base: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    names = [entry.name for entry in dataclasses.fields(kind)]
    for key in table:
        if key not in names:
            raise ConfigError(f"{where}: {key}: no such setting; expected one of {', '.join(names)}")
    values = dict(base)
    for name in names:
        if name not in table:
            continue
        hint, label = hints[name], f"{where}: {name}"
        if dataclasses.is_dataclass(hint):
            if not isinstance(table[name], dict):
                raise ConfigError(f"{label}: expected a table [{name}], found {table[name]!r}")
            start = base.get(name)
            inner = {e.name: getattr(start, e.name) for e in dataclasses.fields(start)} if start is not None else {}
            values[name] = _from_table(typing.cast(type, hint), table[name], label, folder, inner)
        else:
            values[name] = _value(hint, table[name], label, folder)
    missing = [
        entry.name
        for entry in dataclasses.fields(kind)
        if entry.name not in values
        and entry.default is dataclasses.MISSING
        and entry.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: {missing[0]}: expected a value, found none")
    return kind(**values)


def _value(hint: Any, value: Any, label: str, folder: Path) -> Any:
    if typing.get_origin(hint) is Literal:
        if value not in typing.get_args(hint):
            raise ConfigError(f"{label}: expected one of {', '.join(typing.get_args(hint))}, found {value!r}")
        return value
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        many = len(kinds) == 2 and kinds[1] is Ellipsis
        if not isinstance(value, list) or not (many or len(value) == len(kinds)):
            raise ConfigError(f"{label}: expected a list{'' if many else f' of {len(kinds)} numbers'}, found {value!r}")
        return tuple(
            _value(kind, item, label, folder)
            for kind, item in zip([kinds[0]] * len(value) if many else kinds, value, strict=True)
        )
    if hint is Path and isinstance(value, str):
        return folder / value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, hint) and isinstance(value, bool) == (hint is bool):
        return value
    raise ConfigError(f"{label}: expected {hint.__name__}, found {value!r}")
