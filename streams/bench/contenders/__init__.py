"""What Tollgate is measured beside: programs of their own, each a process that says on stdout how
far it is.

    READY           it holds its partitions (or its input)
    DONE            it has consumed everything
    RESULT {json}   what it found, for the check; made after the measurement

`streams.bench.outsiders` starts them. They use aiokafka, Faust and orjson directly, because that is
what they measure.
"""
