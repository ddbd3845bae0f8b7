"""``pipelines.audio_program`` as TensorFlow ops."""

from __future__ import annotations

import tensorflow as tf

from pipelines.audio_features import AudioFeatures
from pipelines.audio_graph import AudioFeaturesGraph
from pipelines.program_graph import GraphCores, GraphProgram, Tensors


class SoundGraph(GraphProgram):
    """``SoundProgram``; subclasses decode.

    Args:
        features: samples to frames.
    """

    def __init__(self, features: AudioFeatures) -> None:
        super().__init__()
        self.features = AudioFeaturesGraph(features)

    def encode(self, request: Tensors) -> Tensors:
        """``frames``, ``inside`` and ``steps``."""
        audio, length = self.features.resampled(
            request["audio"], request["length"], request["rate"]
        )
        frames, steps = self.features(audio, length)
        inside = tf.sequence_mask(steps, tf.shape(frames)[1], tf.int32)
        return {"frames": frames, "inside": inside, "steps": steps}


class WavGraph(GraphProgram):
    """``Wav``: files of 16 bits.

    Args:
        inner: takes samples.
    """

    def __init__(self, inner: GraphProgram) -> None:
        super().__init__()
        self.inner, self.cores = inner, inner.cores

    def encode(self, request: Tensors) -> Tensors:
        """The samples of each file, and on as ``inner``."""
        spec = tf.RaggedTensorSpec([None], tf.float32, 0)
        samples, rate = tf.map_fn(
            _decoded, request["wav"], fn_output_signature=(spec, tf.TensorSpec([], tf.int32))
        )
        rest = {name: tensor for name, tensor in request.items() if name != "wav"}
        audio = {
            "audio": samples.to_tensor(0.0),
            "length": tf.cast(samples.row_lengths(), tf.int32),
            "rate": rate,
        }
        return self.inner.encode({**rest, **audio})

    def execute(self, cores: GraphCores, encoded: Tensors) -> Tensors:
        """As ``inner``."""
        return self.inner.execute(cores, encoded)

    def decode(self, outputs: Tensors) -> Tensors:
        """As ``inner``."""
        return self.inner.decode(outputs)


def _decoded(file: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor]:
    samples, rate = tf.audio.decode_wav(file)
    mixed = tf.reduce_mean(samples, 1)
    return tf.RaggedTensor.from_tensor(mixed[None])[0], rate
