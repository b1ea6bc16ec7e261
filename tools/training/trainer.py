"""The training loop: draws samples, steps, averages, validates, keeps checkpoints, and resumes exactly."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor

from ...calibration.errors import UserError
from ...models.diffusion import linear_beta_noise
from ...models.nets.denoiser import Denoiser, Observation
from ..simulation.motion import MotionData, vary_bodies
from ..simulation.observe import Samples, Simulation
from .config import TrainingConfig, to_table
from .objective import Losses, losses

CHECKPOINT_VERSION = 1
_FIELDS = {"config", "step", "network", "average", "optimiser", "generator"}
PUBLISHED_STEPS = 26


class CheckpointError(UserError):
    """A checkpoint that cannot be continued."""


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Which of the processes of a run this is, and what it computes on."""

    rank: int
    world: int
    device: torch.device


class Trainer:
    """One training run. Everything random comes from two generators whose states are in the checkpoint."""

    def __init__(self, config: TrainingConfig, data: MotionData, place: Place) -> None:
        self.config, self.place, self._data = config, place, data
        settings = config.training
        if settings.batch % place.world:
            raise UserError(f"training.batch: expected a multiple of {place.world} processes, found {settings.batch}")
        torch.manual_seed(settings.seed)
        self.network = Denoiser(config.network).to(place.device)
        self.network.reduced_precision = settings.precision == "bf16"
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.average.reduced_precision = False
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.99)
        )
        self._simulation = Simulation(config.rigs, config.noise, config.lengths)
        self._generator = torch.Generator().manual_seed(settings.seed * 1000 + place.rank)
        self.step = 0

    def draw(self, count: int, generator: torch.Generator, validation: bool = False) -> Samples:
        """New simulated samples, on the processor."""
        poses = self._data.draw(count, validation, generator)
        return self._simulation.observe(vary_bodies(poses, self.config.bodies, generator), generator)

    def advance(self) -> Losses:
        """One step: new samples, their gradient, the weights and their average."""
        settings = self.config.training
        samples = self.draw(settings.batch // self.place.world, self._generator)
        left, right, noise = self._diffused(samples)
        samples = Samples(*(value.to(self.place.device) for value in samples))
        seen = Observation(samples.confidence, samples.baseline_m, samples.lengths_m)
        estimate = self.network(*(value.to(self.place.device) for value in (left, right, noise)), seen)
        result = losses(estimate, samples, settings)
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * self._rate()
        self._optimiser.zero_grad(set_to_none=True)
        result.total.backward()
        self._share_gradients()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.gradient_clip)
        self._optimiser.step()
        self.step += 1
        decay = min(settings.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        return result

    def _diffused(self, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
        """The states of the diffusion at a random step: joints of both views (B, J, 2), and the step's noise (B,)."""
        settings = self.config.training
        count = len(samples.baseline_m)
        if settings.schedule == "published":
            signal, noise = linear_beta_noise(1e-4, 1e-3, PUBLISHED_STEPS)
            chosen = torch.randint(PUBLISHED_STEPS, (count,), generator=self._generator)
            shrink, level = torch.tensor(signal)[chosen].float(), torch.tensor(noise)[chosen].float()
        else:
            level = torch.rand(count, generator=self._generator).clamp(min=0.02)
            full = torch.rand(count, generator=self._generator) < settings.full_noise_share
            level = torch.where(full, torch.ones_like(level), level)
            shrink = torch.ones_like(level)
        seen = (samples.confidence > 0).float()[..., None]

        def state(clean: Tensor, detected: Tensor) -> Tensor:
            error = detected - clean
            return (shrink[:, None, None] * clean + level[:, None, None] * error) * seen

        return state(samples.clean_left, samples.left), state(samples.clean_right, samples.right), level

    def _rate(self) -> float:
        """Factor on the learning rate: linear warm-up, then a cosine to a hundredth."""
        settings = self.config.training
        if self.step < settings.warmup:
            return (self.step + 1) / settings.warmup
        share = (self.step - settings.warmup) / max(1, settings.steps - settings.warmup)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    def _share_gradients(self) -> None:
        if self.place.world > 1:
            for parameter in self.network.parameters():
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.place.world

    def save(self, path: Path) -> None:
        """Write a checkpoint in one step: a killed run finds the last one whole."""
        content = {
            "version": CHECKPOINT_VERSION,
            "config": to_table(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._gathered_generator(),
        }
        if self.place.rank == 0:
            part = path.with_name(path.name + ".part")
            torch.save(content, part)
            os.replace(part, path)

    def _gathered_generator(self) -> list[Tensor]:
        own = self._generator.get_state()
        if self.place.world == 1:
            return [own]
        states: list[Any] = [None] * self.place.world
        distributed.all_gather_object(states, own)
        return states

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint, exactly as if it had never stopped.

        Raises CheckpointError for a file that is damaged, of another model or from another configuration.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # noqa: BLE001  torch raises whatever the damaged bytes lead to
            raise CheckpointError(f"{path}: not a readable checkpoint ({type(error).__name__}: {error})") from None
        if not isinstance(content, dict) or content.get("version") != CHECKPOINT_VERSION or _FIELDS - content.keys():
            raise CheckpointError(f"{path}: expected a checkpoint of version {CHECKPOINT_VERSION}")
        differing = _differences(content["config"], to_table(self.config))
        if differing:
            raise CheckpointError(
                f"{path}: it belongs to another configuration ({'; '.join(differing[:3])}); "
                "use its own configuration or another output folder"
            )
        if len(content["generator"]) != self.place.world:
            raise CheckpointError(
                f"{path}: it was trained with {len(content['generator'])} processes; continue with as many"
            )
        try:
            self.network.load_state_dict(content["network"])
            self.average.load_state_dict(content["average"])
            self._optimiser.load_state_dict(content["optimiser"])
            self._generator.set_state(content["generator"][self.place.rank])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: it does not fit this version of the program: {error}") from None
        self.step = content["step"]

    def run(self, every_step: Callable[[Losses], None]) -> None:
        """All steps that are left."""
        while self.step < self.config.training.steps:
            every_step(self.advance())


def _differences(saved: Any, wanted: Any, name: str = "") -> list[str]:
    """Names and values of settings that shape the run and differ; paths and reporting intervals do not."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        found = []
        for key in sorted(set(saved) | set(wanted)):
            if name or key not in ("motion", "benchmark", "validate_every", "keep_every", "release"):
                found += _differences(saved.get(key), wanted.get(key), f"{name}.{key}" if name else key)
        return found
    return [] if saved == wanted else [f"{name}: {saved} there, {wanted} here"]
