"""Decisions about records that several models have scored: pure functions over the answers of one batch.

Nothing here calls a model, waits or keeps state between micro-batches.

```
answers = BatchAnswers(context.asked, len(batch), context.metrics)
answers.add(answer)                          # as they come; False: passed over
decide(policy, answers, final=False).waiting  # where an answer that may still come can change the decision
decide(policy, answers, final=True).parts    # at the deadline, or when nothing waits any more
answers.reported(final=True)                 # for the result, with the parts: schemas.results.decided
```
"""

from udfs.ensemble.policies.batch_answers import BatchAnswers, CandidateEntry
from udfs.ensemble.policies.chain import Decision, decide

__all__ = ["BatchAnswers", "CandidateEntry", "Decision", "decide"]
