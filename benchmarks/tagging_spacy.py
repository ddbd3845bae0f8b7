"""A peer of the tagger: spaCy's own, trained from scratch on the same sentences.

Run by ``benchmarks/tagging_speed.py --peer-python PYTHON``, in an environment that has spaCy and
nothing of this project. It takes one JSON object with ``train``, ``test`` (lists of [tokens, tags])
and ``epochs``, answers with its accuracy, and then times one pass over test for every line it gets.
"""

import json
import random
import sys
import time


def main() -> None:
    """Trains, judges, and answers."""
    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.util import minibatch

    given = json.loads(sys.stdin.readline())
    nlp = spacy.blank("en")
    nlp.add_pipe("tagger")  # its default: hashed embeddings and four convolutions

    def doc(tokens, tags=None):
        return Doc(nlp.vocab, words=tokens, tags=tags)

    examples = [Example(doc(tokens), doc(tokens, tags)) for tokens, tags in given["train"]]
    random.seed(0)
    optimizer = nlp.initialize(lambda: examples)
    started = time.perf_counter()
    for _ in range(given["epochs"]):
        random.shuffle(examples)
        for batch in minibatch(examples, 64):
            nlp.update(batch, sgd=optimizer, drop=0.2)
    trained = time.perf_counter() - started
    right = total = 0
    for tokens, tags in given["test"]:
        found = nlp(doc(tokens))
        right += sum(one.tag_ == tag for one, tag in zip(found, tags, strict=True))
        total += len(tags)
    answer = {"accuracy": right / total, "train_seconds": trained, "version": spacy.__version__}
    print(json.dumps(answer), flush=True)
    for _ in sys.stdin:
        docs = [doc(tokens) for tokens, _ in given["test"]]
        started = time.perf_counter()
        for _ in nlp.pipe(docs, batch_size=64):
            pass
        print(json.dumps(time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main()
