"""One text for another: translation, normal forms, transliteration, spelling correction.

    seqloom run translation                  dates and numbers in five languages to ISO form
    seqloom run translation --data FOLDER --source-language en --target-language de

docs/results.md holds the scores and times to expect.
"""

from tasks.kinds.translation import Translation

TASK = Translation(
    name="translation",
    summary="a text in another language or form, written by attention and beam search",
)
