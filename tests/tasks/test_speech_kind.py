"""What the contract does not ask of speech: models that listen, long files, words and language."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import tasks
from common.errors import ConfigError, DataError
from pipelines.program import LoadedProgram
from pipelines.speech_live import LiveTranscript
from serving.predictor import OnnxModel, Predictor
from tasks.kinds.contract import DataOptions
from tasks.kinds.speech.fusing import SpeechJudging, fused_scores
from tasks.kinds.speech.scoring import error_rates
from tasks.stages.exporting import export
from tasks.stages.predicting import predict
from tasks.stages.run_directory import Run
from tasks.stages.training import train
from tests.tasks.test_contract import served

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "speech.md").read_text(encoding="utf-8")
DATA = DataOptions("synthetic:64")
TINY = {"units": 8, "embedding_dim": 8, "epochs": 1, "bidirectional": False, "layers": 2}


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    """A run that reads forwards alone, and its bundle."""
    task = tasks.get("speech")
    run = Run(tmp_path_factory.mktemp("speech") / "run")
    splits = task.load(DATA)
    train(task, DATA, task.with_settings(task.settings, TINY), run, splits=splits)
    exported = export(run, run.path / "bundle", splits=splits)
    return task, run, splits, exported


def test_pieces_are_exported_and_verified(listening):
    for artifact in listening[3]["artifacts"].values():
        assert artifact["status"] == "verified"
        assert artifact["parity"] <= 1e-5
        assert set(artifact["programs"]) == {"wav", "step"}


def test_a_bundle_listens(listening):
    _, run, splits, exported = listening
    version = str(exported["version"])
    bundle = run.path / "bundle"
    model = OnnxModel(bundle / "onnx" / version, 1)
    step = model.programs["step"]
    assert isinstance(step, LoadedProgram)
    example = splits.test[0]
    live = LiveTranscript(step.run, step.initial(1), model.preprocessor)
    for piece in np.array_split(example.sound().samples, 7):
        live.push(piece)
    (expected,) = Predictor(bundle).predict(model.preprocessor.raw([example]))
    answer = live.finish()
    assert answer["text"] == expected["text"]
    assert len(answer["words"]) == len(answer["text"].split())


def test_a_server_listens_as_the_page_says(listening, capsys):
    _, run, splits, _ = listening
    example = splits.test[0]
    code = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]
    pieces = np.array_split(example.sound().samples, 5)
    with served(run.path / "bundle", "onnx") as ready:
        place = f"http://localhost:{ready['rest_port']}"
        exec(code.replace("http://localhost:8501", place), {"pieces": pieces})
    whole = Predictor(run.path / "bundle").predict([example.sound()], beam=1)[0]["text"]
    written = capsys.readouterr().out
    assert whole.startswith(written)


def test_long_files_are_answered_in_pieces(listening, tmp_path):
    task, run, _, _ = listening
    path = tmp_path / "long.wav"
    noise = np.random.default_rng(0).normal(size=8000 * 130) * 0.1
    soundfile.write(path, noise, 8000)
    with pytest.raises(DataError, match=r"long.wav lasts 130 seconds; ask with --file"):
        task.parse_input(str(path))
    found = predict(run.path / "bundle", [], path)
    assert len(found.answers) >= 5
    assert "pieces where it is quiet" in found.notes[0]
    assert found.lines[1].startswith(f"{path} 0:00:")


def test_words_of_a_list_alone(listening, tmp_path):
    task, run, splits, _ = listening
    preprocessor, few = run.preprocessor(), replace(splits, test=splits.test[:3])
    few = replace(few, validation=splits.validation[:2])
    words = tmp_path / "words.txt"
    words.write_text("cq de\nqth 73\n")
    judging = SpeechJudging(lexicon=str(words))
    found = task.judge_otherwise(preprocessor, run.model(), few, judging, print)
    assert set(found["fused"]) == {"validation", "test", "note"}
    assert found["fused"]["test"]["cer"] >= 0
    assert task.judge_otherwise(preprocessor, run.model(), few, SpeechJudging(), print) == {}
    words.write_text("\u00e4\u00f6\n")
    with pytest.raises(DataError, match="no word of the list"):
        fused_scores(preprocessor, run.model(), few, judging, print)
    with pytest.raises(ConfigError, match="holds no finished run of a language model"):
        fused_scores(preprocessor, run.model(), few, SpeechJudging(language=str(run.path)), print)


def test_a_language_model_weighs_in(listening, tmp_path):
    task, run, splits, _ = listening
    text = tmp_path / "texts.txt"
    text.write_text("\n".join(one.target for one in splits.train) + "\n")
    language = tasks.get("language")
    spoken = Run(tmp_path / "language")
    settings = language.with_settings(
        language.settings, {"units": 8, "embedding_dim": 8, "epochs": 1, "level": "char"}
    )
    options = language.data_options(str(text), documents="lines")
    train(language, options, settings, spoken)
    few = replace(splits, test=splits.test[:2], validation=splits.validation[:2])
    judging, told = SpeechJudging(language=str(spoken.path)), []
    found = fused_scores(run.preprocessor(), run.model(), few, judging, told.append)
    assert len(told) == 9
    assert "as validation likes it" in found["note"]
    json.dumps(found)


def test_error_rates_worked_by_hand():
    # "abc" heard as "abd": one of 3 + 2 characters; "de" heard as nothing: two more.
    found = error_rates(["abc", "de"], ["abd", ""])
    assert found["cer"] == pytest.approx(3 / 5)
    assert found["wer"] == pytest.approx(1.0)
    assert found["exact"] == 0.0
