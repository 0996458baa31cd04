"""SetFit on the tasks of `benchmarks.few_shot`; run by it, with the Python of an environment that has `setfit`.

PYTHON benchmarks/few_shot_setfit.py ENCODER < TASK.json > ANSWER.json

The task has `texts` (trained on), `labels` (rows of 0 and 1), `exclusive`, `questions` (texts to be coded), `seed`,
`pairs` (of each kind for each text). The answer has `given` (rows of 0 and 1 for the questions),
`chances` (rows of probabilities), `seconds` of the processor in training and `elapsed` seconds by the clock. Settings:
SetFit's own defaults, one epoch.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

import numpy as np


def main() -> None:
    """Answer one task."""
    warnings.filterwarnings("ignore")
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    task = json.load(sys.stdin)
    labels = np.array(task["labels"], dtype=int)
    options = {} if task["exclusive"] else {"multi_target_strategy": "one-vs-rest"}
    train = {"text": task["texts"], "label": (labels.argmax(axis=1) if task["exclusive"] else labels).tolist()}
    started, began = time.process_time(), time.monotonic()
    model = SetFitModel.from_pretrained(sys.argv[1], **options)
    arguments = TrainingArguments(
        num_iterations=task["pairs"],
        num_epochs=1,
        seed=task["seed"],
        report_to="none",
        save_strategy="no",
        show_progress_bar=False,
    )
    Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(train)).train()
    seconds, elapsed = time.process_time() - started, time.monotonic() - began
    found = np.asarray(model.predict(task["questions"], as_numpy=True))
    given = np.eye(labels.shape[1], dtype=int)[found] if task["exclusive"] else found.astype(int)
    chances = np.asarray(model.predict_proba(task["questions"], as_numpy=True))
    print(json.dumps({"chances": chances.tolist(), "given": given.tolist(), "seconds": seconds, "elapsed": elapsed}))


if __name__ == "__main__":
    main()
