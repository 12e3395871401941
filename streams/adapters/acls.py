"""ACLs on the broker: given, never taken away.

aiokafka has the request, for one ACL at a time, and no method of its administration client for it;
here one request carries all. Uses names of aiokafka that are not public;
tests/guard/test_private_names.py fails when one of them changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import CreateAclsRequest_v1
from aiokafka.protocol.api import Request

from schemas.client.kafka_access import Bootstrap, client_options
from streams.errors import SetupError, TransientError

REQUEST_TIMEOUT_MS: Final = 30_000
"""One request with some hundred ACLs; a broker takes them in well under a second."""

Kind = Literal["topic", "group", "transactional-id"]

# Kafka's numbers: org.apache.kafka.common.resource.ResourceType, PatternType and
# org.apache.kafka.common.acl.AclOperation, AclPermissionType.
_KINDS: Final[dict[Kind, int]] = {"topic": 2, "group": 3, "transactional-id": 5}
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3
_OPERATIONS: Final = {
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Delete": 6,
    "Alter": 7,
    "Describe": 8,
    "DescribeConfigs": 10,
    "AlterConfigs": 11,
}


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One permission of one user, from every host. `prefixed`: the name begins what it is about."""

    principal: str
    kind: Kind
    name: str
    operation: str
    prefixed: bool = False


class _CreateAcls(Request[CreateAclsRequest_v1]):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = 30

    def __init__(self, given: Sequence[Acl]) -> None:
        self._given = given

    def build(self, request_struct_class: type[CreateAclsRequest_v1]) -> CreateAclsRequest_v1:
        return request_struct_class(
            [
                (
                    _KINDS[acl.kind],
                    acl.name,
                    _PREFIXED if acl.prefixed else _LITERAL,
                    acl.principal,
                    "*",
                    _OPERATIONS[acl.operation],
                    _ALLOW,
                )
                for acl in self._given
            ]
        )


async def give(bootstrap: Bootstrap, given: Sequence[Acl]) -> None:
    """Gives all of them; what is there already stays.

    Raises SetupError where the broker knows no ACLs or this user may not give any, TransientError
    where it does not answer.
    """
    admin = AIOKafkaAdminClient(**client_options(bootstrap), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        response: Any = await admin._send_request(_CreateAcls(given))
    except KafkaError as error:
        raise TransientError(
            f"Kafka at {bootstrap} did not answer: {type(error).__name__}",
            action="Check that the broker runs, then give the command again.",
        ) from error
    finally:
        await admin.close()
    refused = {(code, message) for code, message, *_ in response.creation_responses if code}
    if refused:
        told = "; ".join(f"{for_code(code).__name__}: {message}" for code, message in refused)
        raise SetupError(
            f"Kafka at {bootstrap} gives no ACLs: {told}",
            action="Turn an authorizer on (authorizer.class.name) and give the command as a super "
            "user of Kafka, or as one with Alter on the cluster.",
        )
