"""What models of sound have in common: augmentation and the first layer.

Sound is changed where it is already a log-mel spectrogram, which costs next to nothing and keeps
the features of a data set the same from epoch to epoch: louder sound is a number added to every
value, noise is energy added to every band, another voice stretches the bands.

Source: Park et al. 2019 (SpecAugment, arXiv:1904.08779) for masks; Jaitly and Hinton 2013 for
stretched bands (vocal tract length perturbation).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
from keras import ops

from models.audio_config import AudioConfig
from models.masking import MaskedBy

DECIBEL = 0.2302585  # in natural logarithms of energy
FAR = 1e4  # below any of those


@keras.saving.register_keras_serializable("seqloom")
class SoundAugment(keras.layers.Layer):
    """Changes sound while training: gain, noise, stretched bands, shift, masks.

    Args:
        bands: values of a frame.
        spectral: whether they are the logarithms of energies of bands; gain, noise and stretching
            are left out where they are cepstral coefficients.
        mean, scale: by which frames were standardised.
        settings: of ``AudioConfig``.
        seed: of the layer's own generator.
    """

    def __init__(
        self,
        bands: int,
        spectral: bool,
        mean: Sequence[float],
        scale: Sequence[float],
        settings: dict,
        seed=None,
        **kwargs,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.bands, self.spectral, self.seed = bands, spectral, seed
        self.mean, self.scale, self.settings = list(mean), list(scale), dict(settings)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, frames, inside, training=False):
        """``<float32>[batch, steps, stack * bands]``, ``<int32>[batch, steps]`` to the first."""
        if not training:
            return frames
        shape, wanted = ops.shape(frames), self.settings
        x = ops.reshape(frames, (shape[0], shape[1], -1, self.bands))
        if self.spectral:
            x = self._louder(x) if wanted["gain_db"] else x
            x = self._warped(x) if wanted["warp"] else x
            x = self._noisy(x, inside)
        x = self._hurried(x, inside) if wanted["tempo"] else x
        x = self._shifted(x, inside) if wanted["shift"] else x
        for _ in range(wanted["time_masks"]):
            x = x * self._mask(shape[0], shape[1], wanted["time_mask"])[:, :, None, None]
        for _ in range(wanted["band_masks"]):
            x = x * self._mask(shape[0], self.bands, wanted["band_mask"])[:, None, None, :]
        there = ops.cast(inside, "float32")[..., None]
        return ops.reshape(x, shape) * there

    def _uniform(self, shape, low, high):
        return keras.random.uniform(shape, low, high, seed=self.seed_generator)

    def _louder(self, x):
        most = self.settings["gain_db"] * DECIBEL
        gain = self._uniform((ops.shape(x)[0], 1, 1, 1), -most, most)
        return x + gain * ops.convert_to_tensor(self.scale, "float32")

    def _noisy(self, x, inside):
        """White noise of a loudness between that asked for and 40 dB less, a level for a sound."""
        mean = ops.convert_to_tensor(self.mean, "float32")
        scale = ops.convert_to_tensor(self.scale, "float32")
        energy = ops.exp(ops.minimum(x / scale + mean, 20.0))
        there = ops.cast(inside, "float32")[..., None, None]
        count = ops.maximum(ops.sum(there, (1, 2, 3), keepdims=True), 1.0)
        stack = ops.cast(ops.shape(x)[2] * self.bands, "float32")
        level = ops.sum(energy * there, (1, 2, 3), keepdims=True) / (count * stack)
        below = self._uniform((ops.shape(x)[0], 1, 1, 1), 0.0, 40.0) + self.settings["noise_db"]
        # The energy of a band of white noise is about exponentially distributed.
        spread = -ops.log(self._uniform(ops.shape(x), 1e-4, 1.0))
        noise = level * ops.exp(-below * DECIBEL) * spread
        return (ops.log(energy + noise + 1e-6) - mean) * scale

    def _warped(self, x):
        most = self.settings["warp"]
        factor = self._uniform((ops.shape(x)[0], 1), 1 - most, 1 + most)
        places = ops.clip(
            ops.arange(self.bands, dtype="float32") * factor, 0.0, self.bands - 1.0
        )  # (B, bands)
        low = ops.floor(places)
        share = (places - low)[:, None, None, :]
        low = ops.cast(low, "int32")
        high = ops.minimum(low + 1, self.bands - 1)
        there = lambda at: ops.take_along_axis(x, at[:, None, None, :], -1)  # noqa: E731
        return there(low) * (1 - share) + there(high) * share

    def _hurried(self, x, inside):
        """Faster or slower around the middle, so that what a slow sound loses is on both sides."""
        most = self.settings["tempo"]
        factor = self._uniform((ops.shape(x)[0], 1), 1 - most, 1 + most)
        last = ops.cast(ops.maximum(ops.sum(inside, 1, keepdims=True) - 1, 0), "float32")
        time = ops.arange(ops.shape(x)[1], dtype="float32")[None] - last / 2
        places = ops.clip(last / 2 + time * factor, 0.0, last)
        low = ops.floor(places)
        share = (places - low)[:, :, None, None]
        low = ops.cast(low, "int32")
        high = ops.minimum(low + 1, ops.cast(last, "int32"))
        there = lambda at: ops.take_along_axis(x, at[:, :, None, None], 1)  # noqa: E731
        return there(low) * (1 - share) + there(high) * share

    def _shifted(self, x, inside):
        most = self.settings["shift"]
        by = ops.cast(ops.floor(self._uniform((ops.shape(x)[0], 1), -most, most + 1)), "int32")
        last = ops.maximum(ops.sum(inside, 1, keepdims=True) - 1, 0)
        places = ops.clip(ops.arange(ops.shape(x)[1])[None] + by, 0, last)
        return ops.take_along_axis(x, places[:, :, None, None], 1)

    def _mask(self, rows, size, most):
        """0 on one stretch of a row, 1 elsewhere: ``<float32>[rows, size]``."""
        width = self._uniform((rows, 1), 0.0, most + 1.0)
        room = ops.cast(size, "float32")
        start = self._uniform((rows, 1), 0.0, 1.0) * ops.maximum(room - width, 0.0)
        place = ops.arange(size, dtype="float32")[None]
        hidden = ops.logical_and(place >= ops.floor(start), place < ops.floor(start + width))
        return ops.cast(ops.logical_not(hidden), "float32")

    def compute_output_shape(self, frames_shape, inside_shape):
        """That of the frames."""
        return frames_shape

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "bands": self.bands, "spectral": self.spectral,
                "mean": self.mean, "scale": self.scale, "settings": self.settings,
                "seed": self.seed}  # fmt: skip


AUGMENTED = ("gain_db", "noise_db", "warp", "tempo", "shift", "time_masks", "time_mask",
             "band_masks", "band_mask")  # fmt: skip


@keras.saving.register_keras_serializable("seqloom")
class Levelled(keras.layers.Layer):
    """Makes frames alike whatever the microphone, the room and the loudness.

    What is far below the loudest band of a sound is as quiet as that, so that it does not matter
    how much noise a recording has where nothing is said; and the mean of its frames is taken away
    (cepstral mean normalisation, Atal 1974). A row without a step stays as it is.

    Args:
        floor: in natural logarithms of energy below the loudest; 0 leaves all as it is.
        centre: whether the mean is taken away.
        mean, scale: by which a frame was standardised, as often as a step has frames.
    """

    def __init__(
        self, floor: float, centre: bool, mean: Sequence[float], scale: Sequence[float], **kwargs
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.floor, self.centre, self.mean, self.scale = floor, centre, list(mean), list(scale)

    def call(self, frames, inside):
        """``<float32>[batch, steps, width]``, ``<int32>[batch, steps]`` to the first."""
        there = ops.cast(inside, "float32")[..., None]
        if self.floor:
            mean, scale = (ops.convert_to_tensor(x, "float32") for x in (self.mean, self.scale))
            energy = frames / scale + mean
            loudest = ops.max(energy + (there - 1) * FAR, (1, 2), keepdims=True)
            frames = (ops.maximum(energy, loudest - self.floor) - mean) * scale
        if self.centre:
            count = ops.maximum(ops.sum(there, 1, keepdims=True), 1.0)
            frames = frames - ops.sum(frames * there, 1, keepdims=True) / count
        return frames * there

    def compute_output_shape(self, frames_shape, inside_shape):
        """That of the frames."""
        return frames_shape

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "floor": self.floor, "centre": self.centre,
                "mean": self.mean, "scale": self.scale}  # fmt: skip


@keras.saving.register_keras_serializable("seqloom")
class BandConvolution(keras.layers.Layer):
    """A convolution over the bands of each step, whose frames are its channels, and a maximum over
    neighbours: what is heard is the same a little higher or lower, in another voice (Sainath et
    al. 2015, "Convolutional, Long Short-Term Memory, Fully Connected Deep Neural Networks").

    Args:
        filters: how many.
        bands: values of a frame.
        reach: bands that a filter sees.
        pool: neighbouring places of which the greatest counts.
    """

    def __init__(self, filters: int, bands: int, reach: int = 8, pool: int = 3, **kwargs) -> None:
        super().__init__(**kwargs)
        self.filters, self.bands, self.pool = filters, bands, min(pool, bands)
        self.reach = min(reach, bands)
        self.places = (bands + self.pool - 1) // self.pool

    def build(self, input_shape) -> None:
        """Makes the filters."""
        self.stack = input_shape[-1] // self.bands
        shape = (self.reach, self.stack, self.filters)
        self.kernel = self.add_weight(shape, name="kernel")
        self.bias = self.add_weight((self.filters,), "zeros", name="bias")

    def call(self, x):
        """``<float32>[batch, steps, stack * bands]`` to ``[batch, steps, places * filters]``."""
        shape = ops.shape(x)
        x = ops.reshape(x, (-1, self.stack, self.bands))
        x = ops.transpose(x, (0, 2, 1))  # (B * T, bands, stack)
        x = ops.relu(ops.conv(x, self.kernel, padding="same") + self.bias)
        x = ops.max_pool(x, self.pool, padding="same")  # (B * T, places, filters)
        return ops.reshape(x, (shape[0], shape[1], self.places * self.filters))

    def compute_output_shape(self, input_shape):
        """``(batch, steps, places * filters)``."""
        return (*input_shape[:2], self.places * self.filters)

    def get_config(self):
        """For ``model.keras``."""
        return {**super().get_config(), "filters": self.filters, "bands": self.bands,
                "reach": self.reach, "pool": self.pool}  # fmt: skip


@dataclass(frozen=True)
class Frames:
    """What a model has to know of the frames that it is given.

    Attributes:
        width: values of a frame.
        stack: frames of a step.
        spectral, mean, scale: see ``SoundAugment``.
    """

    width: int
    stack: int
    spectral: bool
    mean: tuple[float, ...]
    scale: tuple[float, ...]


def sound_inputs(frames: Frames) -> dict[str, keras.KerasTensor]:
    """``frames <float32>[batch, steps, stack * width]`` and ``inside <int32>[batch, steps]``, 1
    where there is a step."""
    return {
        "frames": keras.Input((None, frames.stack * frames.width), name="frames"),
        "inside": keras.Input((None,), dtype="int32", name="inside"),
    }


def levelled(floor_db: float, centre: bool, frames: Frames) -> Levelled:
    """The layer, for frames of a model; cepstral coefficients have no floor."""
    floor = floor_db * DECIBEL if frames.spectral else 0.0
    return Levelled(
        floor, centre, frames.mean * frames.stack, frames.scale * frames.stack, name="level"
    )


def heard(
    inputs: Mapping[str, keras.KerasTensor],
    config: AudioConfig,
    frames: Frames,
    level: Levelled | None = None,
) -> keras.KerasTensor:
    """What the first layer makes of frames. As it is linear in frames that stand side by side, it
    is a convolution over time.

    Args:
        inputs: of ``sound_inputs``.
        config: hyperparameters.
        frames: what they are.
        level: as ``levelled`` makes it; not for models that answer before a sound has ended.

    Returns:
        ``<float32>[batch, steps, embedding_dim]`` with a mask of the steps inside.
    """
    settings = {name: getattr(config, name) for name in AUGMENTED}
    augment = SoundAugment(
        frames.width, frames.spectral, frames.mean, frames.scale, settings, name="augment"
    )
    x = augment(inputs["frames"], inputs["inside"])
    if level is not None:
        x = level(x, inputs["inside"])
    if config.filters:
        x = BandConvolution(config.filters, frames.width, name="bands")(x)
    x = MaskedBy(name="mask")([x, inputs["inside"]])
    x = keras.layers.Dense(config.embedding_dim, activation="relu", name="front")(x)  # (B, T, E)
    x = keras.layers.LayerNormalization(name="front_normalise")(x)
    return keras.layers.Dropout(config.dropout, name="front_dropout")(x)


def heard_again(
    inputs: Mapping[str, keras.KerasTensor], layers: Mapping[str, keras.layers.Layer]
) -> keras.KerasTensor:
    """The same by the layers of a trained model, without what is only for training."""
    x = inputs["frames"]
    x = layers["bands"](x) if "bands" in layers else x
    x = layers["mask"]([x, inputs["inside"]])
    return layers["front_normalise"](layers["front"](x))
