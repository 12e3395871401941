"""What crosses a process boundary in Tollgate: records, their limits, topics, money. Data, no
rules; and in `schemas.client` what a producer needs to send them.

A producer can import the contract with Pydantic alone; `schemas.structs` and `schemas.codec`,
which need msgspec and orjson, are for the processes on the hot path and are not imported here.
Nor is `schemas.client`: it owns a file, a thread and a connection, and no other module of this
package imports it.
"""
