"""Whether a customer's budget was spent before a record: for protocols that tell so afterwards."""

from schemas import rpc
from schemas.money import parse_signed_amount
from schemas.structs import Usage
from streams.domain.rating import total_tokens


def was_spent_before(answer: rpc.RecordAnswer, usage: Usage) -> bool:
    """Whether, before a record, the grants of what it used were spent or a limit that it meets was
    reached.

    What settles a hold spends what had been set aside for it: then the answer is no. `usage` is the
    record, `answer` what became of it.
    """
    entry, account = answer.entry, answer.account
    if answer.status != "accepted" or entry is None or entry.settlement == "settled":
        return False
    if answer.was_exhausted:
        return True
    used = {
        "unit": parse_signed_amount(str(entry.units)),
        "token": parse_signed_amount(str(total_tokens(usage.tokens))),
        "usd": parse_signed_amount(entry.cost) if entry.currency == "USD" else 0,
    }
    return account is not None and any(
        used[limit.denomination]
        and parse_signed_amount(limit.used) - used[limit.denomination]
        >= parse_signed_amount(limit.amount)
        for limit in account.limits
        if limit.agent_id in ("", usage.agent_id)
    )
