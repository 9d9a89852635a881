"""Decisions about records that several models have scored: pure functions over the answers of one batch.

Nothing here calls a model, waits or keeps state between micro-batches.

```
answers = BatchAnswers(context.asked, len(batch), context.metrics)
answers.add(answer)                          # as they come; False: passed over
settled(policy, answers).all()               # whether to decide now
decide(policy, answers, final=True).parts    # at the deadline, or when settled
answers.reported(final=True)                 # for the result, with the parts: schemas.results.decided
```
"""

from udfs.ensemble.policies.batch_answers import BatchAnswers, CandidateEntry
from udfs.ensemble.policies.chain import Decision, decide, settled

__all__ = ["BatchAnswers", "CandidateEntry", "Decision", "decide", "settled"]
