"""What an operator watches, as metrics: cases, alerts, breakers, savings by experiment, key figures.

Each is a view of what another room counts already, under a name of ``traces.semconv``. Sums and tables are looked at
once a minute; what the page of metrics shows is what was seen then. Several processes on one database show the same.
"""

from collections import Counter
from collections.abc import Callable, Mapping

from ostinato.breakers import Trips
from ostinato.cases import Alerts, Cases
from ostinato.core.clock import Clock
from ostinato.kpis import Kpis, Scope
from ostinato.savings import Savings
from ostinato.traces import Filter, Metrics, Window, semconv

KPIS = (
    "first_pass_success",
    "resolution_rate",
    "containment",
    "true_containment",
    "csat",
    "task_success_rate",
    "outcome_coverage",
    "satisfaction",
    "accuracy",
    "false_hit_rate",
    "cost_per_success",
    "cost_per_interaction",
    "error_rate",
)
"""Figures of the last day: those that are made from sums, of all organizations together."""

_SEVERITIES = ("low", "medium", "high", "critical")
_ALERTS = ("ok", "pending", "alarm", "missing")
_DAY = 86_400_000_000
_NANO = 1e9

_Seen = dict[tuple[str, ...], float]


class Views:
    """The views of one process. ``look`` is called every minute."""

    def __init__(
        self, cases: Cases, alerts: Alerts, kpis: Kpis, savings: Savings, trips: Callable[[], Trips], clock: Clock
    ) -> None:
        self._cases = cases
        self._alerts = alerts
        self._kpis = kpis
        self._savings = savings
        self._trips = trips
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def show(self, metrics: Metrics) -> None:
        """Show them beside the ledger's numbers."""
        for name in (
            semconv.CASES_OPEN,
            semconv.CASES_OVERDUE,
            semconv.ALERTS,
            semconv.HOLDOUT_SAVED,
            semconv.HOLDOUT_ACCOUNTED,
            semconv.HOLDOUT_SESSIONS,
            semconv.KPI,
        ):
            metrics.view(name, lambda name=name: self._seen.get(name, {}))
        metrics.view(semconv.BREAKERS, self._breakers)

    async def look(self) -> None:
        """Count what stands, and take the figures."""
        standing = await self._cases.standing()
        self._seen[semconv.CASES_OPEN] = _by(Counter(one.severity for one in standing), _SEVERITIES)
        self._seen[semconv.CASES_OVERDUE] = _by(Counter(one.severity for one in standing if one.overdue), _SEVERITIES)
        self._seen[semconv.ALERTS] = _by(await self._alerts.counted(), _ALERTS)
        await self._look_at_savings()
        await self._look_at_figures()

    async def _look_at_savings(self) -> None:
        now = self._clock.now()
        found = await self._savings.holdout(Window(now - 7 * _DAY, now), Filter())
        sessions = {("held",): float(found.held.sessions), ("treated",): float(found.treated.sessions)}
        self._seen[semconv.HOLDOUT_SESSIONS] = sessions
        saved, accounted = _Seen(), _Seen()
        if found.saving is not None:  # else nothing is claimed: shown as missing, not as zero
            one = found.saving
            saved = {("estimate",): one.mean / _NANO, ("low",): one.low / _NANO, ("high",): one.high / _NANO}
            accounted = {(): found.accounted / _NANO}
        self._seen[semconv.HOLDOUT_SAVED], self._seen[semconv.HOLDOUT_ACCOUNTED] = saved, accounted

    async def _look_at_figures(self) -> None:
        now = self._clock.now()
        page = await self._kpis.figures(Scope(org=""), Window(now - _DAY, now), names=KPIS)
        self._seen[semconv.KPI] = {
            (one.name,): one.value for one in page.figures if one.name in KPIS and one.value is not None
        }

    def _breakers(self) -> _Seen:
        return _Seen(Counter(("target" if one.target else "intent", one.state) for one in self._trips().all))


def _by(counts: Mapping[str, int], names: tuple[str, ...]) -> _Seen:
    """A count for every name, so that what is well again is seen as 0."""
    return {(name,): float(counts.get(name, 0)) for name in names}
