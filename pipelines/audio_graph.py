"""``pipelines.audio_features``, and what resamples requests, as TensorFlow ops."""

from __future__ import annotations

import math

import tensorflow as tf

from pipelines.audio import ROLL_OFF, ZEROS
from pipelines.audio_features import FLOOR, AudioFeatures


class AudioFeaturesGraph(tf.Module):
    """``AudioFeatures`` of padded batches.

    Args:
        features: the NumPy implementation.
    """

    def __init__(self, features: AudioFeatures) -> None:
        super().__init__()
        self.features = features
        self.taper = tf.constant(features.taper)
        self.filters = tf.constant(features.filters)
        self.cosines = tf.constant(features.cosines)

    def resampled(
        self, audio: tf.Tensor, length: tf.Tensor, rate: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Sounds at the rate of the model.

        Args:
            audio: ``<float32>[batch, samples]``.
            length: ``<int32>[batch]``.
            rate: ``<int32>[batch]``.

        Returns:
            The same two, what is behind the end of a row being zero.
        """
        wanted = self.features.rate
        length = tf.clip_by_value(length, 0, tf.shape(audio)[1])
        audio = tf.where(tf.sequence_mask(length, tf.shape(audio)[1]), audio, 0.0)
        after = -(-tf.cast(length, tf.int64) * wanted // tf.cast(rate, tf.int64))
        longest = tf.cast(tf.reduce_max(tf.concat([after, [0]], 0)), tf.int32)

        def one(row: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
            samples, count, source = row
            found = interpolated(samples[:count], source, wanted)
            return tf.pad(found, [[0, longest - tf.shape(found)[0]]])

        def each() -> tf.Tensor:
            return tf.map_fn(
                one, (audio, length, rate), fn_output_signature=tf.TensorSpec([None], tf.float32)
            )

        same = tf.reduce_all(rate == wanted)
        audio = tf.cond(same, lambda: audio, each)
        return audio, tf.cast(after, tf.int32)

    def frames(self, audio: tf.Tensor) -> tf.Tensor:
        """``<float32>[batch, samples]`` to ``<float32>[batch, frames, width]``."""
        one = self.features
        cut = tf.signal.frame(tf.cast(audio, tf.float64), one.window, one.frame_hop)
        spectrum = tf.signal.rfft(cut * self.taper, [one.transform])
        energy = tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
        found = tf.math.log(tf.tensordot(energy, self.filters, 1) + FLOOR)
        if one.config.features == "mfcc":
            found = tf.tensordot(found, self.cosines, 1)
        return tf.cast(found, tf.float32)

    def stacked(self, frames: tf.Tensor) -> tf.Tensor:
        """Frames to steps, standardised."""
        one, config = self.features, self.features.config
        if one.mean:
            mean, scale = (tf.constant(x, tf.float32) for x in (one.mean, one.scale))
            frames = (frames - mean) * scale
        cut = tf.signal.frame(frames, config.stack, config.stride, axis=1)  # (B, T, stack, width)
        shape = tf.shape(cut)
        return tf.reshape(cut, [shape[0], shape[1], config.stack * one.width])

    def steps(self, samples: tf.Tensor) -> tf.Tensor:
        """See ``AudioFeatures.steps``."""
        more = -(-tf.maximum(samples - self.features.span, 0) // self.features.hop)
        return tf.where(samples > 0, 1 + more, 0)

    def __call__(self, audio: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Steps of whole sounds.

        Args:
            audio: ``<float32>[batch, samples]``, zero behind the end of a row.
            length: ``<int32>[batch]``.

        Returns:
            ``<float32>[batch, steps, stack * width]`` of at least one step, zero behind the end of
            a row, and the number of steps ``<int32>[batch]``.
        """
        counts = self.steps(length)
        longest = tf.maximum(1, tf.reduce_max(tf.concat([counts, [0]], 0)))
        samples = (longest - 1) * self.features.hop + self.features.span
        missing = tf.maximum(0, samples - tf.shape(audio)[1])
        audio = tf.pad(audio, [[0, 0], [0, missing]])[:, :samples]
        steps = self.stacked(self.frames(audio))
        inside = tf.sequence_mask(counts, longest)
        return tf.where(inside[..., None], steps, 0.0), counts


def interpolated(samples: tf.Tensor, rate: tf.Tensor, wanted: int) -> tf.Tensor:
    """See ``pipelines.audio.interpolated``: ``<float32>[n]`` at ``rate`` to ``wanted``."""
    rate64, count = tf.cast(rate, tf.int64), tf.shape(samples, tf.int64)[0]
    slower = tf.minimum(tf.constant(1.0, tf.float64), wanted / tf.cast(rate, tf.float64))
    cutoff = 0.5 * ROLL_OFF * slower
    taps = tf.cast(tf.math.ceil(ZEROS / (2 * cutoff)), tf.int64)
    around = tf.range(-taps + 1, taps + 1)
    data = tf.pad(tf.cast(samples, tf.float64), [[taps, taps]])
    total = -(-count * wanted // rate64)
    size = 2**20 // (2 * taps)

    def block(first: tf.Tensor, found: tf.TensorArray) -> tuple:
        places = tf.range(first, tf.minimum(first + size, total)) * rate64
        whole, left = places // wanted, places % wanted
        distance = tf.cast(around, tf.float64) - (tf.cast(left, tf.float64) / wanted)[:, None]
        taper = distance / tf.cast(taps, tf.float64)
        window = 0.5 + 0.5 * tf.cos(math.pi * tf.clip_by_value(taper, -1.0, 1.0))
        weights = 2 * cutoff * _sinc(2 * cutoff * distance) * window
        values = tf.gather(data, whole[:, None] + around + taps)
        part = tf.cast(tf.reduce_sum(values * weights, 1), tf.float32)
        return first + size, found.write(found.size(), part)

    parts = tf.TensorArray(
        tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None]
    )
    start = tf.constant(0, tf.int64)
    _, parts = tf.while_loop(lambda first, _: first < total, block, (start, parts))
    resampled = tf.cond(total > 0, parts.concat, lambda: tf.zeros([0]))
    return tf.cond(rate64 == wanted, lambda: samples, lambda: resampled)


def _sinc(x: tf.Tensor) -> tf.Tensor:
    at_zero = x == 0
    angle = math.pi * tf.where(at_zero, tf.ones_like(x), x)
    return tf.where(at_zero, tf.ones_like(x), tf.sin(angle) / angle)
