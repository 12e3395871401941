"""What Grafana and its ClickHouse plugin make of a panel's query before ClickHouse sees it.

Macros as the plugin documents them (docs/sources/query-editor.md and template-variables.md of
github.com/grafana/clickhouse-datasource), variables as Grafana does: `$name` and `${name}` are the
values joined by commas, `${name:singlequote}` quotes each. Everything else is refused, so that a
dashboard uses nothing that is not here.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "deploy/grafana"
PLUGIN: Final = "grafana-clickhouse-datasource"
PROMETHEUS: Final = "prometheus"

_variable = re.compile(r"\$\{([a-z_]+)(?::([a-z]+))?\}|\$([a-z][a-z_]*)")
_macro = re.compile(r"\$__([A-Za-z_]+)(\()?")


@dataclass(frozen=True)
class View:
    """What somebody looks at: a time range in seconds, an interval, the values of variables.

    `everything` are variables whose choice is All; their values are all there are."""

    from_s: int
    to_s: int
    interval_s: int
    values: Mapping[str, Sequence[str]]
    everything: frozenset[str] = field(default_factory=frozenset)


def every_dashboard() -> list[dict[str, Any]]:
    """All dashboards that are shipped."""
    return [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((FOLDER / "dashboards").glob("*.json"))
    ]


def dashboards(source: str = PLUGIN) -> list[dict[str, Any]]:
    """Those that ask a kind of data source: ClickHouse by default."""
    return [one for one in every_dashboard() if source_of(one) == source]


def source_of(dashboard: Mapping[str, Any]) -> str:
    """The kind of data source that a dashboard lets one choose."""
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    return str(variables["datasource"]["query"])


def queries(dashboard: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Panels with each of their queries."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel, target["rawSql"]


def names_in(sql: str) -> set[str]:
    """The variables that a query uses."""
    return {
        match[1] or match[3]
        for match in _variable.finditer(sql)
        if not (match[3] or "").startswith("__")
    }


def expand(sql: str, view: View) -> str:
    """The query as ClickHouse gets it. Raises ValueError for what neither side would know."""
    return _variables(_macros(sql, view), view)


def _macros(sql: str, view: View) -> str:
    made, at = [], 0
    while match := _macro.search(sql, at):
        made.append(sql[at : match.start()])
        end, arguments = match.end(), ""
        if match[2]:
            end = _closing(sql, match.end())
            arguments = sql[match.end() : end]
            end += 1
        made.append(_expansion(match[1], arguments, view))
        at = end
    return "".join(made) + sql[at:]


def _closing(sql: str, start: int) -> int:
    depth = 1
    for at in range(start, len(sql)):
        depth += {"(": 1, ")": -1}.get(sql[at], 0)
        if not depth:
            return at
    raise ValueError(f"a macro is not closed: {sql[start : start + 40]!r}")


def _expansion(name: str, arguments: str, view: View) -> str:
    first, last = f"toDateTime({view.from_s})", f"toDateTime({view.to_s})"
    match name:
        case "fromTime":
            return first
        case "toTime":
            return last
        case "interval_s":
            return str(view.interval_s)
        case "timeFilter":
            return f"{arguments} >= {first} AND {arguments} <= {last}"
        case "dateFilter":
            days = (f"toDate('{_day(time)}')" for time in (view.from_s, view.to_s))
            return "{0} >= {1} AND {0} <= {2}".format(arguments, *days)
        case "timeInterval":
            step = f"INTERVAL {view.interval_s} second"
            return f"toStartOfInterval(toDateTime({arguments}), {step})"
        case "conditionalAll":
            condition, _, variable = arguments.rpartition(",")
            chosen = variable.strip().removeprefix("$")
            if chosen not in view.values:
                raise ValueError(f"$__conditionalAll without a plain variable: {variable!r}")
            return "1=1" if chosen in view.everything else condition
    raise ValueError(f"the plugin has no macro $__{name} that is known here")


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _variables(sql: str, view: View) -> str:
    def value(match: re.Match[str]) -> str:
        name, form = match[1] or match[3], match[2]
        if name not in view.values:
            raise ValueError(f"no variable {name!r}")
        values = view.values[name]
        if form == "singlequote":
            return ",".join("'" + text.replace("'", "\\'") + "'" for text in values)
        if form is not None:
            raise ValueError(f"no format {form!r} is known here")
        return ",".join(values)

    return _variable.sub(value, sql)
