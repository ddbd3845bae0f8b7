"""A network of the user's own in place of the recurrent stack.

    def network(x, config):
        x = keras.layers.LSTM(config.units, return_sequences=True)(x)
        return keras.layers.LSTM(config.units)(x)

It gets what the recurrent stack of the kind gets and the model's settings, and gives back a tensor,
or a layer or model that is called on ``x``. Embeddings, heads, losses and decoding stay the kind's.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError
from models.config import RecurrentConfig
from models.own_code import custom_objects, described, fingerprint, module_of
from models.own_source import source_of

if TYPE_CHECKING:
    import keras

    from models.network_trial import Trial

# What a kind's network has to return.
SEQUENCE, VECTOR = "a sequence [batch, time, width]", "a vector [batch, width]"
EITHER = f"{VECTOR} or {SEQUENCE}"
_RANKS = {SEQUENCE: (3,), VECTOR: (2,), EITHER: (2, 3)}


@dataclass(frozen=True)
class Network:
    """A function from ``x <float>[batch, time, features]`` and settings to a tensor.

    Attributes:
        source: of a module that can be executed by itself.
        name: of the function in it.
        where: file that it came from, for messages.
    """

    source: str
    name: str
    where: str = field(default="network.py", compare=False)

    @classmethod
    def of(cls, given: Network | Callable[..., Any]) -> Network:
        """A network as it is, or a function with the source that it needs.

        Raises:
            ConfigError: it is no function, or its source does not stand by itself.
        """
        if isinstance(given, Network):
            return given
        network = cls(*source_of(given))
        network.function  # noqa: B018  executed at once: a run must be rebuilt from its copy
        return network

    @classmethod
    def parsed(cls, text: str) -> Network:
        """That of ``FILE.py:FUNCTION``.

        Raises:
            ConfigError: it is not of that form, or the file cannot be read or executed.
        """
        file, colon, name = text.rpartition(":")
        if not colon or not name.isidentifier():
            raise ConfigError(f"--network {text}: write FILE.py:FUNCTION")
        try:
            network = cls(Path(file).read_text(encoding="utf-8"), name, file)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"--network {file} cannot be read: {reason}") from error
        network.function  # noqa: B018  see of
        return network

    @property
    def function(self) -> Callable[..., Any]:
        """The function, of the source executed by itself.

        Raises:
            ConfigError: that fails, or there is no such function.
        """
        import keras

        module = module_of(self.source, self.where)
        # By these Keras finds the layers of a saved or copied model again.
        keras.saving.get_custom_objects().update(custom_objects(module))
        # Whether a lost mask matters is tried in numbers, see __call__.
        warnings.filterwarnings("ignore", "(?s).*will therefore destroy the mask information")
        found = getattr(module, self.name, None)
        if not callable(found):
            raise ConfigError(f"network {self.place}: there is no such function")
        return found

    @property
    def label(self) -> str:
        """Name and the beginning of the source's SHA-256."""
        return f"{self.name} ({fingerprint(self.source)[:12]})"

    @property
    def place(self) -> str:
        """File and function, as they are given to ``--network``."""
        return f"{self.where}:{self.name}" if self.where.endswith(".py") else self.name

    def __call__(
        self,
        x: keras.KerasTensor,
        config: RecurrentConfig,
        returns: str = EITHER,
        *,
        causal: bool = False,
    ) -> keras.KerasTensor:
        """Applies the network, after a try on numbers.

        Args:
            x: ``<float>[batch, time, features]``, with its mask where rows are padded.
            config: settings of the model.
            returns: ``SEQUENCE``, ``VECTOR`` or ``EITHER``.
            causal: no step may depend on a later one.

        Returns:
            What the network gives; a sequence has the mask of ``x``.

        Raises:
            ConfigError: the function fails, gives something else, or its answer depends on padding
                or on later steps.
        """
        from models.masking import keep_mask

        masked = getattr(x, "_keras_mask", None) is not None
        if self._tried(x, config, returns, masked, causal):
            x = keep_mask(x, x)
        y = self._applied(x, config)
        lost = masked and len(y.shape) == 3 and getattr(y, "_keras_mask", None) is None
        return keep_mask(y, x) if lost else y

    def _applied(self, x: keras.KerasTensor, config: RecurrentConfig) -> Any:
        import keras

        try:
            y = self.function(x, config)
            return y(x) if isinstance(y, keras.Layer) else y
        except ConfigError:
            raise
        except Exception as error:
            raise self._error(f"failed: {described(self.where, error)[:400]}") from error

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"network {self.place} {what}")

    def _tried(self, x: Any, config: Any, returns: str, masked: bool, causal: bool) -> bool:
        """Tries the network; whether it needs zeros at padded steps.

        Raises:
            ConfigError: it cannot be used.
        """
        trial = self._trial(x, config, returns, masked, zeroed=False)
        if causal and (far := trial.by_later_steps()):
            raise self._error(
                f"looks at later steps (a difference of {far:.2g}), but this kind answers step by "
                "step: use layers that read forward, or causal convolutions"
            )
        if not masked or not (far := trial.by_padding()):
            return False
        if not self._trial(x, config, returns, masked, zeroed=True).by_padding():
            return True
        raise self._error(
            f"answers a row by the padding behind it, too (a difference of {far:.2g}): a layer "
            "loses the mask, most often a convolution or a global pooling; write "
            "models.keep_mask(layer(x), x) around it"
        )

    def _trial(self, x: Any, config: Any, returns: str, masked: bool, zeroed: bool) -> Trial:
        """The network by itself, checked for what it returns."""
        import keras

        from models.masking import MaskedBy, keep_mask
        from models.network_trial import STEPS, Trial

        time, width = x.shape[1:]
        inputs = [keras.Input((time, width)), keras.Input((time,), dtype="int32")]
        given = MaskedBy()(inputs) if masked else inputs[0]
        y = self._applied(keep_mask(given, given) if zeroed else given, config)
        self._check_tensor(y, returns)
        # The second input is an output, too, since nothing may read it.
        trial = Trial(keras.Model(inputs, [y, inputs[1]]), time or STEPS, width)
        given_steps = trial.answer(trial.drawn).shape[1]
        if len(y.shape) == 3 and given_steps != trial.steps:
            raise self._error(
                f"gives {given_steps} steps for {trial.steps}; a sequence keeps its length "
                '(padding="same" or "causal", no strides)'
            )
        return trial

    def _check_tensor(self, y: Any, returns: str) -> None:
        import keras

        if not isinstance(y, keras.KerasTensor):
            kind = "nothing" if y is None else f"a {type(y).__name__}"
            raise self._error(f"returns {kind}; return {returns}, as Keras layers give it")
        shape = ", ".join("any" if size is None else str(size) for size in y.shape)
        if len(y.shape) not in _RANKS[returns] or y.shape[0] is not None or y.shape[-1] is None:
            raise self._error(f"returns [{shape}]; here it has to return {returns}")
        if "float" not in y.dtype:
            raise self._error(f"returns {y.dtype}; return floats")


def read_sequence(
    x: keras.KerasTensor,
    config: RecurrentConfig,
    network: Network | None,
    *,
    return_sequences: bool = True,
    causal: bool = False,
) -> keras.KerasTensor:
    """The recurrent stack on ``x``, or the user's own network in its place.

    Args:
        x: ``<float>[batch, time, features]``.
        config: settings of the model.
        network: None for the recurrent stack.
        return_sequences: whether ``[batch, time, width]`` is wanted, or ``[batch, width]``.
        causal: see ``Network``.
    """
    if network is not None:
        return network(x, config, SEQUENCE if return_sequences else VECTOR, causal=causal)
    from models.recurrent import recurrent_stack

    return recurrent_stack(x, config, return_sequences=return_sequences)
