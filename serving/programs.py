"""Programs as whoever uses a bundle gets them: what is no request is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.program import Core, LoadedProgram, Program
from pipelines.ragged import Arrays, Fields
from serving.errors import RequestError
from serving.runtime.signatures import check_inputs, check_tensors


class CheckedProgram(LoadedProgram):
    """A program with its cores that takes tensors of its signature only.

    NumPy would spread an array of another shape over the columns or rows that it lacks, and answer.
    """

    def encode(self, request: Mapping[str, Any]) -> Arrays:
        """See ``LoadedProgram.encode``.

        Raises:
            RequestError: a tensor is missing, unknown, or of another dtype or shape.
        """
        inputs = self.signature["inputs"]
        arrays = {name: np.asarray(value) for name, value in request.items()}
        check_inputs(inputs, arrays)
        check_tensors(inputs, arrays)
        try:
            return super().encode(arrays)
        except ValueError as error:
            raise RequestError(str(error)) from error

    def execute(self, encoded: Arrays) -> Arrays:
        """See ``LoadedProgram.execute``.

        Raises:
            RequestError: the values are impossible, or an engine failed.
        """
        try:
            return super().execute(encoded)
        except ValueError as error:
            raise RequestError(str(error)) from error


def loaded_programs(
    programs: Mapping[str, Program], cores: Mapping[str, Core]
) -> dict[str, CheckedProgram]:
    """The programs whose cores all exist, by the name of the signature."""
    return {
        name: CheckedProgram(program, cores)
        for name, program in programs.items() if set(program.cores) <= set(cores)
    }  # fmt: skip


def core_fields(programs: Mapping[str, Program], core: str) -> Fields | None:
    """Fields of the programs that run a core on whole sequences, which answer row by row.

    None of the core of a step, whose rows are too little work to be parted.
    """
    if core == "step":
        return None
    run = [program.fields for program in programs.values() if core in program.cores]
    return dict(item for fields in run for item in fields.items())
