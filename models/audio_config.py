"""Hyperparameters of models that hear."""

from __future__ import annotations

from dataclasses import dataclass

from common.config import number
from models.config import RecurrentConfig


@dataclass(frozen=True)
class AudioConfig(RecurrentConfig):
    """Hyperparameters of the front and of what training does to the sound (``models.audio``)."""

    embedding_dim: int = number(64, 1, 4096, "size of what the first layer makes of each step")
    filters: int = number(0, 0, 1024, "convolutions over the bands before the first layer; 0: none")
    average: float = number(0.99, 0.0, 0.99999, "momentum of a running average of the weights")
    gain_db: float = number(3.0, 0.0, 60.0, "loudness changes by up to so many decibels")
    noise_db: float = number(
        30.0, -20.0, 200.0, "noise is added as loud as so many decibels below the sound, or less"
    )
    warp: float = number(0.0, 0.0, 0.5, "bands are stretched by up to this share: other voices")
    tempo: float = number(0.0, 0.0, 0.5, "sounds are made faster or slower by up to this share")
    shift: int = number(3, 0, 1000, "steps by which a sound is shifted, at most")
    time_masks: int = number(0, 0, 100, "stretches of time that are hidden")
    time_mask: int = number(6, 0, 1000, "length of each in steps, at most")
    band_masks: int = number(0, 0, 100, "stretches of bands that are hidden")
    band_mask: int = number(6, 0, 512, "width of each in bands, at most")
