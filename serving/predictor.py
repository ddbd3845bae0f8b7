"""Answers from a bundle's ONNX model with neither TensorFlow nor Keras in the process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.preprocessor import load_preprocessor
from pipelines.program import DEFAULT
from pipelines.ragged import Arrays
from pipelines.responses import readable, settings_request
from pipelines.text import text_request
from pipelines.writing import SEPARATOR, Piece, WritingProgram
from serving.bundle import read_manifest
from serving.errors import RequestError, ServingError
from serving.onnx_core import OnnxCore
from serving.programs import core_fields, loaded_programs
from serving.runtime.signatures import GENERATE_SIGNATURE


class OnnxModel:
    """A directory with ``<core>.onnx`` files and their preprocessor.

    Args:
        directory: such as ``BUNDLE/onnx/1``.
        threads: number of ONNX Runtime's threads; if None it chooses.
        signatures: those that are needed; if None, all whose cores are there, and
            ``serving_default``.

    Attributes:
        programs: programs whose cores all exist, by the name of the signature.

    Raises:
        ServingError: a core of a signature that is needed is not there, or one cannot be loaded.
    """

    def __init__(
        self,
        directory: str | Path,
        threads: int | None = None,
        signatures: Sequence[str] | None = None,
    ) -> None:
        directory = Path(directory)
        default = directory / "model.onnx"
        if not default.is_file() and not (directory / "preprocessor.json").is_file():
            raise ServingError(f"{default} is not there; export one with `--format onnx`")
        self.preprocessor = load_preprocessor(directory)
        programs = self.preprocessor.programs
        if signatures is not None:
            programs = {name: programs[name] for name in signatures}
        named = dict.fromkeys(name for program in programs.values() for name in program.cores)
        paths = {name: directory / f"{name}.onnx" for name in named}
        needed = [DEFAULT] if signatures is None else signatures
        for name in (core for signature in needed for core in programs[signature].cores):
            if not paths[name].is_file():
                raise ServingError(f"{paths[name]} is not there; export it with `--format onnx`")
        cores = {
            name: OnnxCore(path, threads, core_fields(programs, name))
            for name, path in paths.items() if path.is_file()
        }  # fmt: skip
        self.programs = loaded_programs(programs, cores)

    def run(self, request: Arrays, signature_name: str = DEFAULT) -> Arrays:
        """Request tensors to response tensors, as the signature has them.

        Raises:
            RequestError: a tensor is missing, or of another dtype or an impossible shape; or there
                is no such signature.
        """
        if signature_name not in self.programs:
            raise RequestError(
                f"there is no signature {signature_name!r}; there is {', '.join(self.programs)}"
            )
        return self.programs[signature_name].run(request)


class Predictor:
    """One version of a bundle: raw inputs to readable answers, or request to response tensors.

    Args:
        bundle: directory that ``seqloom export`` wrote.
        version: the version's number; the manifest's if None.
        threads: number of ONNX Runtime's threads; if None it chooses.

    Raises:
        ServingError: the bundle holds no ONNX model of that version, or it cannot be loaded.
    """

    def __init__(
        self, bundle: str | Path, version: int | None = None, threads: int | None = None
    ) -> None:
        self.manifest = read_manifest(bundle)
        try:
            self.name: str = self.manifest["name"]
            self.version: int = version or self.manifest["version"]
        except KeyError as error:
            raise ServingError(
                f"{bundle}/manifest.json has no {error}; write it again with `seqloom export`"
            ) from error
        self.model = OnnxModel(Path(bundle) / "onnx" / str(self.version), threads)
        self.preprocessor = self.model.preprocessor
        self.signature = self.model.programs[DEFAULT].signature

    def run(self, request: Arrays, signature_name: str = DEFAULT) -> Arrays:
        """Request tensors to response tensors, as the signature has them; see ``OnnxModel.run``."""
        return self.model.run(request, signature_name)

    def predict(
        self, raw: Sequence[Any], program: str = DEFAULT, **settings: Any
    ) -> list[dict[str, Any]]:
        """Readable answers, one for each raw input.

        Args:
            raw: inputs.
            program: name of a signature that takes the same inputs, such as ``generate``.
            settings: decoding settings that differ from the defaults, such as ``temperature=0.5``.
        """
        loaded = self.model.programs[program]
        return readable(loaded, self.preprocessor, raw, settings, program)

    def generate(self, text: str | Sequence[str], **settings: Any) -> Iterator[Piece]:
        """Continues one text or several; a model with a signature ``generate``.

        >>> for piece in predictor.generate("Once", temperature=0.7):   # doctest: +SKIP
        ...     print(piece.text, end="", flush=True)

        Args:
            text: what is continued.
            settings: decoding settings that differ from the defaults, the same for all texts;
                ``stop`` is a string or a list of strings.

        Returns:
            What each id adds, as it is written; ``index`` says to which of the texts.

        Raises:
            RequestError: a setting is out of range, or the model writes no text.
            DataError: the model has no such setting.
        """
        program = self.model.programs.get(GENERATE_SIGNATURE)
        if program is None or not isinstance(program.program, WritingProgram):
            raise RequestError("this model writes no text", code="FAILED_PRECONDITION")
        if not isinstance(settings.get("stop", ""), str):
            settings["stop"] = SEPARATOR.join(settings["stop"])
        texts = text_request([text] if isinstance(text, str) else text)
        more = settings_request(program.program, settings)
        encoded = program.encode({"text": texts, **more})
        return program.program.pieces(program.cores, program.program.texts(encoded))
