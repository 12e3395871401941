"""What crosses a process boundary in Tollgate: records, their limits, topics, money. Data, no
rules.

A producer can import the contract with Pydantic alone; `schemas.structs` and `schemas.codec`,
which need msgspec and orjson, are for the processes on the hot path and are not imported here.
"""
