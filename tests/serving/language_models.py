"""A language model that was never trained, as a directory that a server takes."""

import numpy as np

ALPHABET = "abcdefghijklmnopqrstuvwxyz .,\n"


def write_language_model(place, level="char", units=32, layers=2, decoding=None):
    """``<place>/1`` with ``model.onnx``, ``step.onnx`` and their preprocessor; the Keras cores."""
    import keras

    from decoding.sampling import SamplingConfig
    from models.language import language_cores, language_model
    from models.language_config import LanguageConfig
    from pipelines.language import LanguagePreprocessor
    from pipelines.units import Units
    from serving.native_onnx import step_model
    from serving.native_onnx.writer import export_onnx

    keras.utils.set_random_seed(0)
    texts = [ALPHABET] if level != "word" else ["a cat and a dog\nsaw the fine bird of the hill ."]
    numbers = Units.adapt(texts, level)
    config = LanguageConfig(units=units, embedding_dim=units, layers=layers, tied=False)
    model = language_model(config, len(numbers))
    # Untrained scores are all alike: larger ones make some units likely, and special ones not.
    kernel, bias = model.get_layer("output").get_weights()
    bias[:4] = [-30, -30, -30, -4]
    model.get_layer("output").set_weights([kernel * 60, bias])
    cores = language_cores(model)
    cores = {"model": cores["model"], "step": step_model(cores["next"])}
    directory = place / "1"
    directory.mkdir(parents=True)
    settings = SamplingConfig(max_tokens=60).to_dict() | (decoding or {})
    LanguagePreprocessor(numbers, True, 70, settings).save(directory)
    for name, core in cores.items():
        export_onnx(core, directory / f"{name}.onnx")
    return cores


def keras_texts(cores, directory, texts, **settings):
    """Continuations by Keras."""
    from pipelines.preprocessor import load_preprocessor
    from pipelines.program import KerasCore, LoadedProgram

    program = load_preprocessor(directory).programs["generate"]
    loaded = LoadedProgram(program, {"step": KerasCore(cores["step"])})
    request = {"text": np.array([text.encode() for text in texts], object), **settings}
    return [text.decode() for text in loaded.run(request)["continuation"]]
