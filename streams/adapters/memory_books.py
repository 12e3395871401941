"""Books in memory, for simulations and tests of the audit."""

from collections.abc import Iterator, Mapping, Sequence

from streams.domain.facts import SourceRecord


class ListBook:
    """`ports.Book` over a list of records, in the order of their offsets."""

    def __init__(
        self, records: Sequence[SourceRecord] = (), *, start: int = 0, end: int | None = None
    ) -> None:
        self._records = records
        self.start = start
        self.end = end if end is not None else (records[-1].offset + 1 if records else start)

    def batches(self, offset: int) -> Iterator[Sequence[SourceRecord]]:
        """See `ports.Book`."""
        found = [record for record in self._records if offset <= record.offset < self.end]
        if found:
            yield found


class DictImage:
    """`ports.TableImage` over dicts."""

    def __init__(
        self,
        name: str,
        accounts: Mapping[bytes, bytes],
        claims: Mapping[bytes, bytes] | None = None,
        segment_offset: int | None = None,
    ) -> None:
        """`claims` None: this image has none; `segment_offset` is that of the last segment in
        it."""
        self.name = name
        self.settled = True
        self._accounts = accounts
        self._claims = claims
        self._segment_offset = segment_offset

    def accounts(self) -> Mapping[bytes, bytes]:
        """See `ports.TableImage`."""
        return self._accounts

    def claims(self) -> tuple[int | None, Iterator[tuple[bytes, bytes]]] | None:
        """See `ports.TableImage`."""
        if self._claims is None:
            return None
        return self._segment_offset, iter(self._claims.items())
